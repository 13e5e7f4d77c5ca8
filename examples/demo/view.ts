/** What the screen shows, gathered from the load's reports and the controller's events. Pure; times are arguments. */
import type { Region } from '../../src/model/ids.ts';
import type { Decision } from '../../src/model/loop.ts';
import type { SupervisorEvent } from '../../src/supervisor/supervisor.ts';
import { UTC_OFFSET_HOURS } from './load-formula.ts';
import type { LoadReport } from './load-generator.ts';

/** A migration as the controller's API tells of it. */
export interface MigrationEvent {
  id: string;
  shard: string;
  source: string;
  target: string;
  step: string;
  percent: number;
  outcome?: 'completed' | 'rolledBack' | 'failed';
  reason: string;
  priority: string;
  startedAtMs: number;
  endedAtMs?: number;
  detail?: string;
  bytesTransferred?: number;
  bytesTotal?: number;
  /** While the controller waited for the hand-off: the first one, and from the events, not from the API. */
  handOff?: { fromMs: number; toMs?: number };
  /** When the event was made. */
  atMs: number;
}

export interface NodeView {
  name: string;
  region: Region;
  shards: number;
  state: string;
}

export interface ForecastSeries {
  history: number[];
  foreseen: (number | null)[];
  stepS: number;
}

export interface OriginView {
  region: Region;
  /** 0 to 24, of the demo's own day. */
  localHour: number;
  p50Ms: number;
  p99Ms: number;
  requests: number;
  failed: number;
}

export interface DemoView {
  /** Such as `predictive` or `static, run 1 of 2`. */
  title: string;
  elapsedS: number;
  forS: number | undefined;
  dayS: number;
  load: LoadReport | undefined;
  origins: OriginView[];
  forecast: ForecastSeries | undefined;
  nodes: NodeView[];
  moves: MigrationEvent[];
  movesCompleted: number;
  movesRolledBack: number;
  decision: Decision | undefined;
  /** The last decision that moved something: shown until the next. */
  movingDecision: Decision | undefined;
  notices: string[];
}

const NOTICES_KEPT = 3;
const HAND_OFF_STEP = 'handing-off';

export class DemoModel {
  readonly migrations = new Map<string, MigrationEvent>();
  readonly #title: string;
  readonly #regions: Region[];
  readonly #dayS: number;
  readonly #forS: number | undefined;
  readonly #notices: string[] = [];
  #load: LoadReport | undefined;
  #forecast: ForecastSeries | undefined;
  #nodes: NodeView[] = [];
  #decision: Decision | undefined;
  #movingDecision: Decision | undefined;

  constructor(options: { title: string; regions: Region[]; dayS: number; forS?: number }) {
    this.#title = options.title;
    this.#regions = options.regions;
    this.#dayS = options.dayS;
    this.#forS = options.forS;
  }

  onLoad(report: LoadReport): void {
    this.#load = report;
  }

  onDecision(decision: Decision): void {
    this.#decision = decision;
    if ((decision.plan?.moves.length ?? 0) > 0) this.#movingDecision = decision;
  }

  onMigration(migration: MigrationEvent): void {
    const known = this.migrations.get(migration.id);
    // After a reconnection old news may come again: a migration that ended stays ended.
    if (known?.outcome !== undefined && migration.outcome === undefined) return;
    let handOff = known?.handOff;
    if (!handOff && migration.step === HAND_OFF_STEP) handOff = { fromMs: migration.atMs };
    else if (handOff && handOff.toMs === undefined && migration.step !== HAND_OFF_STEP) {
      handOff = { ...handOff, toMs: migration.atMs };
    }
    this.migrations.set(migration.id, { ...known, ...migration, handOff });
  }

  onForecast(forecast: ForecastSeries): void {
    this.#forecast = forecast;
  }

  onNodes(nodes: NodeView[]): void {
    this.#nodes = nodes;
  }

  onProcess(event: SupervisorEvent): void {
    if (event.type === 'serving' && event.restarts === 0) return;
    const what = {
      serving: () => 'serves again',
      exited: () => (event.type === 'exited' ? event.reason : ''),
      blocked: () => 'stood still and was killed',
      'restart-failed': () => 'did not start again',
    }[event.type]();
    this.notice(`${event.name} ${what}`);
  }

  notice(text: string): void {
    this.#notices.push(text);
    if (this.#notices.length > NOTICES_KEPT) this.#notices.shift();
  }

  count(outcome: 'completed' | 'rolledBack' | 'failed'): number {
    let count = 0;
    for (const migration of this.migrations.values()) if (migration.outcome === outcome) count++;
    return count;
  }

  view(): DemoView {
    const elapsedS = this.#load?.atS ?? 0;
    return {
      title: this.#title,
      elapsedS,
      forS: this.#forS,
      dayS: this.#dayS,
      load: this.#load,
      origins: this.#regions.map((region) => {
        const origin = this.#load?.byOrigin[region];
        const hours = (elapsedS / this.#dayS) * 24 + (UTC_OFFSET_HOURS[region] ?? 0);
        return {
          region,
          localHour: ((hours % 24) + 24) % 24,
          p50Ms: origin?.p50Ms ?? 0,
          p99Ms: origin?.p99Ms ?? 0,
          requests: origin?.requests ?? 0,
          failed: origin?.failed ?? 0,
        };
      }),
      forecast: this.#forecast,
      nodes: this.#nodes,
      moves: [...this.migrations.values()].filter(({ outcome }) => outcome === undefined),
      movesCompleted: this.count('completed'),
      movesRolledBack: this.count('rolledBack') + this.count('failed'),
      decision: this.#decision,
      movingDecision: this.#movingDecision,
      notices: [...this.#notices],
    };
  }
}
