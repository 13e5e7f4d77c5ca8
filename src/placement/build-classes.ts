/** Kinds of shards by which builds can read their state: (service, version) as small numbers. Pure. */
import type { PlacementNode, PlacementShard } from '../model/loop.ts';

export class BuildClasses {
  readonly #nodes: readonly PlacementNode[];
  readonly #numbers = new Map<string, number>();
  readonly #rows: Uint8Array[];

  constructor(nodes: readonly PlacementNode[]) {
    this.#nodes = nodes;
    this.#rows = [new Uint8Array(nodes.length).fill(1)];
  }

  of({ shard, version }: PlacementShard): number {
    const service = shard.slice(0, shard.indexOf('/'));
    const key = `${service} ${version}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#rows.length;
    this.#numbers.set(key, number);
    this.#rows.push(
      Uint8Array.from(this.#nodes, (node) => ((node.versions[service] ?? -1) >= version ? 1 : 0)),
    );
    return number;
  }

  /** `[class * nodes + node]`. */
  table(): Uint8Array {
    const table = new Uint8Array(this.#rows.length * this.#nodes.length);
    this.#rows.forEach((row, i) => {
      table.set(row, i * this.#nodes.length);
    });
    return table;
  }
}
