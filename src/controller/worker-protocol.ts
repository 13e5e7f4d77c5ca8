/** What the controller's main thread and its worker say to each other. Plain data. */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { ForecastQuery } from './forecast-view.ts';
import type { EngineConfig, TickInput } from './loop-engine.ts';

export interface WorkerData {
  skeinEngine: true;
  config: EngineConfig;
}

export type WorkerCall =
  | { method: 'tick'; input: TickInput }
  | { method: 'insight'; shard: ShardId }
  | { method: 'forecast'; shard: ShardId | undefined; query: ForecastQuery }
  | { method: 'repair'; dead: ProcessId }
  | { method: 'save' }
  | { method: 'load'; bytes: Uint8Array };

export type WorkerRequest = WorkerCall & { id: number };

export type WorkerReply =
  | { id: 0; ready: true }
  | { id: number; value: unknown }
  | { id: number; error: string };
