/**
 * Ends the lease of a process that is known to be dead, so that its shards are free at once and not when the lease
 * runs out. The caller saw the process exit: nobody else may conclude that.
 */
import type { ProcessId } from '../model/ids.ts';
import { CONTROL_KEYS, decodeRecord, type NodeRecord } from '../model/records.ts';
import type { ControlStore } from '../store/store.ts';
import type { Role } from './supervisor.ts';

/** The key that lives under the lease of a process of this role. */
function keyOf(role: Role, name: string, processId: ProcessId): string | undefined {
  if (role === 'node') return CONTROL_KEYS.node(processId);
  if (role === 'gateway') return CONTROL_KEYS.gateway(name);
  if (role === 'controller') return CONTROL_KEYS.leader();
  return undefined;
}

/** Returns whether there was a lease to revoke. */
export async function revokeLeaseOf(
  control: ControlStore,
  process: { role: Role; name: string; processId: ProcessId },
): Promise<boolean> {
  const key = keyOf(process.role, process.name, process.processId);
  const entry = key === undefined ? undefined : await control.get(key);
  if (!entry) return false;
  // A leader's key may name another controller by now.
  if (
    process.role === 'controller' &&
    decodeRecord<{ processId: ProcessId }>(entry.value).processId !== process.processId
  )
    return false;
  // OWNERSHIP rule 1: the lease that counts is the one the record names, not the one the key happens to hang on.
  const lease = process.role === 'node' ? decodeRecord<NodeRecord>(entry.value).leaseId : entry.lease;
  if (lease === undefined) return false;
  await control.revokeLease(lease);
  return true;
}
