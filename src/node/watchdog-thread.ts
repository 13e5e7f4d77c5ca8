/**
 * The watchdog's own thread: looks at the shared mark of what handler is on the CPU, and when one has blocked the event
 * loop for too long, writes its death to the control store and ends the process with SIGKILL.
 *
 * Runs beside the blocked loop, with a connection of its own. The write is bounded: a store that does not answer does
 * not keep a blocked process alive.
 */
import { workerData } from 'node:worker_threads';
import { EmulatedNetwork } from '../io/emulated-network.ts';
import { realIo } from '../io/real.ts';
import { TcpNetwork } from '../io/tcp-network.ts';
import type { Topology } from '../model/topology.ts';
import { connectControl } from '../store/connect.ts';
import type { EtcdCredentials } from '../store/etcd/access.ts';
import { recordDeath } from './quarantine.ts';
import {
  BlockDetector,
  ENDING_ASKED,
  ENDING_RECORDED,
  endingOf,
  type RunningHandler,
  readRunning,
  setEnding,
} from './watchdog.ts';

export interface WatchdogData {
  shared: SharedArrayBuffer;
  processId: string;
  region: string;
  controlAddress: string;
  etcd?: EtcdCredentials;
  token: string;
  handlerBlockMsMax: number;
  /** Where round trips between regions are emulated: the store expects it of every connection. */
  topology?: Topology;
}

const POLL_MS = 50;
const RECORD_MS_MAX = 1_000;

const data = workerData as WatchdogData;
const plain = realIo({ log: { role: 'watchdog', process: data.processId } });
const io = data.topology
  ? {
      ...plain,
      network: new EmulatedNetwork({
        inner: new TcpNetwork(),
        clock: plain.clock,
        region: data.region,
        topology: data.topology,
      }),
    }
  : plain;
const control = connectControl(io, data.controlAddress, {
  token: data.token,
  identity: `${data.processId}/watchdog`,
  etcd: data.etcd,
});
const detector = new BlockDetector(data.handlerBlockMsMax);
let lastMs = io.clock.monotonicMs();
let ending = false;

async function record(running: RunningHandler): Promise<void> {
  const limit = new Promise<void>((resolve) => {
    io.clock.setTimer(RECORD_MS_MAX, resolve);
  });
  const written = recordDeath(control, running, data.processId, io.clock.realtimeMs()).catch((error) => {
    io.log.error({ error: String(error), shard: running.shard }, 'a death could not be recorded');
  });
  await Promise.race([written, limit]);
}

function poll(): void {
  if (ending) return;
  const nowMs = io.clock.monotonicMs();
  const running = readRunning(data.shared);
  // This thread stood still as well (a suspended machine): what it missed does not count against the handler.
  const stoodStill = nowMs - lastMs > POLL_MS * 10;
  lastMs = nowMs;
  if (running !== undefined && endingOf(data.shared) === ENDING_ASKED) {
    ending = true;
    void record(running).then(() => setEnding(data.shared, ENDING_RECORDED));
    return;
  }
  if (detector.observe(stoodStill ? undefined : running, nowMs) && running !== undefined) {
    ending = true;
    const { shard, handler } = running;
    io.log.error(
      { shard, handler, limitMs: data.handlerBlockMsMax },
      'a handler blocks the event loop; the process ends. Make the handler yield, or raise the limit.',
    );
    void record(running).then(() => process.kill(process.pid, 'SIGKILL'));
    return;
  }
  io.clock.setTimer(POLL_MS, poll);
}

// Makes the connection now: when it is needed there is no time.
control.get('watchdog').catch(() => undefined);
poll();
