/**
 * What a process asks of a log after it asked to raise its fence happens after the raise.
 *
 * A store process reads one connection in order, and two places rely on that: a promoted follower appends while its
 * opening is on the way, and a copy to another cell sends its snapshot behind the new fence (OWNERSHIP rule 9). etcd
 * runs what is under way together in any order, so here the later call waits for the answer to the raise.
 */
import type { ShardId } from '../../model/ids.ts';

export class RaiseOrder {
  readonly #underWay = new Map<ShardId, Promise<unknown>>();

  /** Runs a call that raises the fence of the shard; raises of one shard may overlap. */
  raising<Result>(shard: ShardId, run: () => Promise<Result>): Promise<Result> {
    const raised = run();
    const before = this.#underWay.get(shard);
    const both = before === undefined ? raised : Promise.all([before, raised]);
    this.#underWay.set(shard, both);
    const done = () => {
      if (this.#underWay.get(shard) === both) this.#underWay.delete(shard);
    };
    both.then(done, done);
    return raised;
  }

  /**
   * Resolves when no raise of the shard that was asked for before is under way; undefined where none is. Rejects as the
   * raise did: what relies on a fence must not go on without it.
   */
  after(shard: ShardId): Promise<unknown> | undefined {
    return this.#underWay.get(shard);
  }
}
