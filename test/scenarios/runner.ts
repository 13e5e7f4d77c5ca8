/**
 * Runs placement scenarios: scripts of commands with their expected output, after etcd-raft's datadriven tests.
 *
 * A block is one or more command lines, `----`, the output, an empty line. Lines that begin with `#` say why.
 * `SKEIN_UPDATE_SCENARIOS=1 vitest run test/scenarios` rewrites the outputs: read the diff before you commit it.
 *
 * Commands:
 *   nodes NAME:REGION[:CPU] ...              the cluster
 *   shard KEY on=NODE [REGION=RATE ...] [then REGION=RATE ...] [cpu=S] [pinned=NODE] [allowed=R,R] [bytes=N] [flying=NODE]
 *   shards COUNT PREFIX on=NODE ...          many of the same
 *   forget                                   drops all shards
 *   node NAME draining|cordoned|gone|open    changes a node
 *   place                                    relocations by reason, and the sentence
 *   plan [started=N] [execute]               the plan; with `execute` the moves are done
 *   settle                                   plan and execute until nothing moves: ticks and moves
 *   jitter PERCENT TICKS                     rates vary by that much; counts moves
 *   repair                                   shards of gone nodes
 *   load                                     shards and p90 CPU per node
 *   explain KEY
 */

import { flatForecast } from '../../src/forecast/index.ts';
import { SeededRandom } from '../../src/io/random.ts';
import type { PlacementNode, PlacementShard } from '../../src/model/loop.ts';
import { AWS_THREE_REGIONS } from '../../src/model/topology.ts';
import { createPlacer, horizonsFor, type PlacementInput } from '../../src/placement/index.ts';
import { MoveLedger, makePlan, repairLost } from '../../src/plan/index.ts';

const REGION_NAMES: Record<string, string> = { us: 'us-east-1', eu: 'eu-west-1', ap: 'ap-northeast-1' };
/** Ticks after which `settle` gives up. */
const SETTLE_TICKS_MAX = 50;

interface Spec {
  now: Record<string, number>;
  next: Record<string, number>;
  cpu: number;
  bytes: number;
  on: string;
  pinnedTo?: string;
  allowedRegions?: string[];
  inFlightTo?: string;
}

export class Scenario {
  readonly #nodes = new Map<string, PlacementNode>();
  readonly #gone = new Set<string>();
  readonly #shards = new Map<string, Spec>();
  readonly #placer = createPlacer();
  readonly #ledger = new MoveLedger();
  #generation = 0;
  #atMs = 0;

  run(line: string): string {
    const [command, ...words] = line.trim().split(/\s+/);
    switch (command) {
      case 'nodes':
        return this.#addNodes(words);
      case 'shard':
        this.#shards.set(`room/${words[0]}`, parseSpec(words.slice(1)));
        return '';
      case 'shards':
        for (let i = 0; i < Number(words[0]); i++)
          this.#shards.set(`room/${words[1]}${i}`, parseSpec(words.slice(2)));
        return '';
      case 'forget':
        this.#shards.clear();
        return '';
      case 'node':
        return this.#change(words[0]!, words[1]!);
      case 'place':
        return this.#place();
      case 'plan':
        return this.#plan(words);
      case 'settle':
        return this.#settle();
      case 'jitter':
        return this.#jitter(Number(words[0]) / 100, Number(words[1]));
      case 'repair':
        return this.#repair();
      case 'load':
        return this.#load();
      case 'explain':
        return this.#placer.explain(this.#input(), `room/${words[0]}`).text;
      default:
        throw new Error(`unknown command ${command}`);
    }
  }

  #addNodes(words: string[]): string {
    for (const word of words) {
      const [name, region, cpu] = word.split(':');
      this.#nodes.set(name!, {
        processId: name!,
        name: name!,
        region: REGION_NAMES[region!]!,
        zone: `${region}-a`,
        capacity: { cpu: Number(cpu ?? 1), memoryBytes: 1e9, networkBytesPerSecond: 1e9 },
        usdPerHour: 0.1,
        open: true,
        draining: false,
        versions: { room: 1 },
      });
    }
    return `${this.#nodes.size} nodes`;
  }

  #change(name: string, state: string): string {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    this.#nodes.set(name, { ...node, open: state === 'open', draining: state === 'draining' });
    if (state === 'gone') this.#gone.add(name);
    return `${name} is ${state}`;
  }

  #input(random?: SeededRandom, by = 0): PlacementInput {
    const horizonsS = horizonsFor(2);
    const shards = [...this.#shards].map(([shard, spec]): PlacementShard => {
      const byOrigin: Record<string, { commands: number[]; queries: number[] }> = {};
      for (const region of new Set([...Object.keys(spec.now), ...Object.keys(spec.next)])) {
        const noise = 1 + by * (random === undefined ? 0 : 2 * random.next() - 1);
        // `then` begins at the third horizon: some seconds after a move started now would be done.
        const rate = horizonsS.map((_, h) => noise * ((h < 2 ? spec.now[region] : spec.next[region]) ?? 0));
        byOrigin[region] = { commands: rate.map((r) => 0.3 * r), queries: rate.map((r) => 0.7 * r) };
      }
      return {
        shard,
        primary: spec.on,
        cell: `cell-${this.#nodes.get(spec.on)!.region}`,
        epoch: 1,
        forecast: flatForecast(shard, horizonsS, byOrigin, {
          cpuSeconds: spec.cpu,
          bytesIn: 200,
          bytesOut: 400,
          stateBytes: spec.bytes,
          windowS: 10,
        }),
        stateBytes: spec.bytes,
        writeBytesPerSecond: 0,
        bytesPerRequest: 600,
        version: 1,
        pinnedTo: spec.pinnedTo,
        allowedRegions: spec.allowedRegions,
        inFlightTo: spec.inFlightTo,
      };
    });
    const nodes = [...this.#nodes.values()].filter(({ name }) => !this.#gone.has(name));
    return {
      nodes,
      shards,
      topology: AWS_THREE_REGIONS,
      cells: Object.fromEntries(nodes.map(({ region }) => [region, `cell-${region}`])),
      owedUsd: (shard) => this.#ledger.owedUsd(shard, this.#atMs),
    };
  }

  #place(): string {
    const { relocations, reason } = this.#placer.place(this.#input());
    return [...summary(relocations), reason].join('\n');
  }

  #plan(words: string[]): string {
    const started = words.find((word) => word.startsWith('started='))?.slice(8);
    const { moves, reason } = this.#tick(
      this.#input(),
      words.includes('execute'),
      started === undefined ? undefined : Number(started),
    );
    return [...summary(moves), reason].join('\n');
  }

  #tick(input: PlacementInput, execute: boolean, startedPerTick?: number) {
    this.#atMs += 1000;
    const placement = this.#placer.place(input);
    const { plan, reason } = makePlan({
      placement,
      inFlight: [...this.#shards].flatMap(([shard, spec]) =>
        spec.inFlightTo === undefined
          ? []
          : [{ shard, source: spec.on, target: spec.inFlightTo, bytes: spec.bytes }],
      ),
      epochOf: () => 1,
      parent: this.#generation,
      atMs: this.#atMs,
      budgets: startedPerTick === undefined ? undefined : { startedPerTick },
    });
    if (plan !== undefined && execute) {
      this.#generation = plan.generation;
      for (const move of plan.moves) {
        this.#shards.get(move.shard)!.on = move.target;
        const cost = placement.relocations.find(({ shard }) => shard === move.shard)!.costUsd;
        this.#ledger.moved(move.shard, this.#atMs, cost, move.reason);
      }
    }
    return { moves: plan?.moves ?? [], reason };
  }

  #settle(): string {
    let moves = 0;
    for (let tick = 1; tick <= SETTLE_TICKS_MAX; tick++) {
      const now = this.#tick(this.#input(), true).moves.length;
      moves += now;
      if (now === 0) return `still after ${tick - 1} ticks and ${moves} moves`;
    }
    return `not still after ${SETTLE_TICKS_MAX} ticks and ${moves} moves`;
  }

  #jitter(by: number, ticks: number): string {
    const random = new SeededRandom('jitter');
    let moves = 0;
    for (let i = 0; i < ticks; i++) moves += this.#tick(this.#input(random, by), true).moves.length;
    return `${moves} moves in ${ticks} ticks`;
  }

  #repair(): string {
    const { repairs, stranded, reason } = repairLost(this.#input());
    for (const { shard, target } of repairs) this.#shards.get(shard)!.on = target;
    const lines = tally(repairs.map(({ lost, target }) => `${lost} -> ${target}`));
    for (const { shard, because } of stranded) lines.push(`${shard} is stranded: ${because}`);
    return [...lines, reason].join('\n');
  }

  #load(): string {
    const lines: string[] = [];
    for (const { name } of this.#nodes.values()) {
      let cpu = 0;
      let count = 0;
      for (const spec of this.#shards.values()) {
        if (spec.on !== name) continue;
        count++;
        cpu += spec.cpu * Object.values(spec.next).reduce((a, b) => a + b, 0);
      }
      lines.push(`${name}: ${count} shards, cpu ${cpu.toFixed(2)}`);
    }
    return lines.join('\n');
  }
}

function parseSpec(words: string[]): Spec {
  const spec: Spec = { now: {}, next: {}, cpu: 0.001, bytes: 2000, on: '' };
  let later = false;
  for (const word of words) {
    if (word === 'then') {
      later = true;
      continue;
    }
    const [name, value] = word.split('=') as [string, string];
    if (REGION_NAMES[name] !== undefined) (later ? spec.next : spec.now)[REGION_NAMES[name]] = Number(value);
    else if (name === 'cpu') spec.cpu = Number(value);
    else if (name === 'bytes') spec.bytes = Number(value);
    else if (name === 'on') spec.on = value;
    else if (name === 'pinned') spec.pinnedTo = value;
    else if (name === 'flying') spec.inFlightTo = value;
    else if (name === 'allowed')
      spec.allowedRegions = value.split(',').map((region) => REGION_NAMES[region]!);
    else throw new Error(`what is ${word}?`);
  }
  if (!later) spec.next = spec.now;
  return spec;
}

function summary(moves: readonly { shard: string; source: string; target: string }[]): string[] {
  return tally(
    moves.map(({ shard, source, target }) => `${shard.replace(/\d+$/, '*')} ${source} -> ${target}`),
  );
}

function tally(names: string[]): string[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${name} x${count}`);
}

/** Runs a script; returns it with the outputs that came. */
export function runScript(text: string): string {
  const scenario = new Scenario();
  const out: string[] = [];
  const lines = text.split('\n');
  let pending: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    if (line.startsWith('----')) {
      const results = pending.map((command) => scenario.run(command)).filter((result) => result !== '');
      pending = [];
      out.push('----', ...(results.length > 0 ? results : ['ok']));
      while (i + 1 < lines.length && lines[i + 1] !== '') i++;
      continue;
    }
    if (line !== '' && !line.startsWith('#')) pending.push(line);
    out.push(line);
  }
  return out.join('\n');
}
