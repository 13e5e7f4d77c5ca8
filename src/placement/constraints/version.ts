/** An older build cannot read newer state: it would refuse to open the shard. */
import type { Constraint } from './constraint.ts';

export const version: Constraint = {
  name: 'version',
  description: 'goes only where the build reads its state version',
  mustLeave: false,
  allows(shard, node) {
    const readable = node.versions[shard.shard.slice(0, shard.shard.indexOf('/'))];
    return readable !== undefined && readable >= shard.version;
  },
};
