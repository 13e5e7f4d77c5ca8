/** How others learn where a cell is: its record in the control store. */
import { type Io, sleep } from '../io/io.ts';
import type { CellId } from '../model/ids.ts';
import { type CellRecord, CONTROL_KEYS, encodeRecord } from '../model/records.ts';
import type { ControlStore } from './store.ts';

const REGISTER_RETRY_MS_MAX = 1_000;

/** Several at once; resolves when all stand. */
export async function registerCells(
  io: Pick<Io, 'clock' | 'log'>,
  control: ControlStore,
  cells: Record<CellId, CellRecord>,
): Promise<void> {
  await Promise.all(Object.entries(cells).map(([id, record]) => registerCell(io, control, id, record)));
}

/** Puts `cell/<id>` unless it says so already; goes on until it stands, since nobody can use the cell before. */
export async function registerCell(
  io: Pick<Io, 'clock' | 'log'>,
  control: ControlStore,
  cellId: CellId,
  record: CellRecord,
  stopped: () => boolean = () => false,
): Promise<void> {
  const key = CONTROL_KEYS.cell(cellId);
  const value = encodeRecord(record);
  for (let delayMs = 20; !stopped(); delayMs = Math.min(REGISTER_RETRY_MS_MAX, delayMs * 2)) {
    try {
      const present = await control.get(key);
      if (present?.value === value) return;
      const { succeeded } = await control.transact({
        compare: [{ key, version: present?.version ?? 0 }],
        operations: [{ put: key, value }],
      });
      if (succeeded) return;
    } catch (error) {
      io.log.debug({ error: String(error), cell: cellId }, 'the cell is not registered yet');
    }
    await sleep(io.clock, delayMs);
  }
}
