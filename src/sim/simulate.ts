/**
 * One simulated run: a cluster, users, faults drawn from the seed, and the checkers at the end.
 *
 *   boot -> users and faults side by side -> faults end, links heal -> the cluster settles -> check
 */
import type { Random } from '../io/io.ts';
import type { Region, ShardId } from '../model/ids.ts';
import { hash32, shardId } from '../model/ids.ts';
import type { ShardRequest } from '../model/request.ts';
import { STALE_MS_MAX, type TallyReply, tallyApp } from './app.ts';
import { SimCluster, type SimClusterOptions } from './cluster.ts';
import { type FinalState, History, type Violation } from './history.ts';
import { RandomEngine } from './random-engine.ts';
import { World } from './world.ts';

export interface SimulationOptions {
  seed: string;
  /** Virtual time under faults, milliseconds. */
  faultsMs?: number;
  shards?: number;
  /** Users a region. */
  users?: number;
  /** Mean pause between two faults, milliseconds; 0: none. */
  faultEveryMs?: number;
  /** Only faults of these names; all where absent. */
  faultNames?: string[];
  /** Cells of another make, such as one that lies: the checkers must find out. */
  cell?: SimClusterOptions['cell'];
  /** Sees every log line of every process. */
  onLog?: (process: string, level: string, fields: object, message: string) => void;
}

export interface SimulationReport {
  seed: string;
  violations: Violation[];
  requests: number;
  acknowledged: number;
  /** Of those, answers of standbys that may have been out of date, as their users allowed. */
  stale: number;
  failed: number;
  faults: Record<string, number>;
  migrations: { completed: number; rolledBack: number; failed: number };
  virtualMs: number;
  events: number;
  /** The last notable events, for reading a failure. */
  trace: string[];
}

/** After the faults end, everything must answer within this, virtual. */
const SETTLE_MS = 60_000;
const GIVE_UP_MS = 15_000;

/**
 * Runs one seed. Users see no error of the run itself: what is wrong is in `violations`.
 *
 * @example
 * const report = await simulate({ seed: '7' });
 * if (report.violations.length > 0) throw new Error(report.violations[0].text);
 */
export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const world = new World(options.seed);
  const engines: RandomEngine[] = [];
  const cluster = new SimCluster({
    world,
    app: tallyApp,
    controllers: 2,
    engine: (name) => {
      const engine = new RandomEngine(world.random.split(`engine ${name} ${engines.length}`), 2);
      engines.push(engine);
      return engine;
    },
    cell: options.cell,
    onLog: options.onLog,
  });
  await world.settle(cluster.start());

  const history = new History();
  const shards = Array.from({ length: options.shards ?? 8 }, (_, i) => shardId('tally', `t${i}`));
  const users = new Users(cluster, history, shards, world.random.split('users'), options.users ?? 6);
  const faults = new Faults(
    cluster,
    world.random.split('faults'),
    options.faultEveryMs ?? 1_500,
    options.faultNames,
  );
  users.start();
  faults.start();
  await world.run(world.nowMs + (options.faultsMs ?? 20_000));
  faults.stop();
  await world.run(world.nowMs + 10_000);
  users.stop();
  for (const engine of engines) engine.moving = false;
  await world.run(world.nowMs + GIVE_UP_MS + 5_000);

  const violations = history.check();
  const finals = await settled(cluster, shards, violations);
  violations.push(...history.checkFinal(finals), ...stuck(cluster));
  const answered = history.operations.filter((operation) => operation.status !== undefined);
  const acknowledged = answered.filter(({ status }) => status! >= 200 && status! < 300).length;
  const ended = cluster
    .names('controller')
    .flatMap((name) => cluster.slots.get(name)?.controller?.executor.list() ?? []);
  const count = (outcome: string) =>
    new Set(ended.filter((one) => one.outcome === outcome).map(({ id }) => id)).size;
  return {
    seed: options.seed,
    violations,
    requests: history.operations.length,
    acknowledged,
    stale: answered.filter(({ stalenessMs = 0 }) => stalenessMs > 0).length,
    failed: answered.length - acknowledged,
    faults: faults.counts,
    migrations: { completed: count('completed'), rolledBack: count('rolledBack'), failed: count('failed') },
    virtualMs: world.nowMs,
    events: world.events,
    trace: world.trace,
  };
}

/** Asks every shard at every gateway: all must answer, and alike. */
async function settled(
  cluster: SimCluster,
  shards: ShardId[],
  violations: Violation[],
): Promise<Map<ShardId, FinalState>> {
  const { world } = cluster;
  const finals = new Map<ShardId, FinalState>();
  const untilMs = world.nowMs + SETTLE_MS;
  for (const shard of shards) {
    const answers: string[] = [];
    for (const region of cluster.regions) {
      let body: string | undefined;
      while (body === undefined && world.nowMs < untilMs) {
        const reply = await world.settle(
          Promise.race([
            cluster.execute(`gateway-${region}`, request(shard, 'all', undefined, region, 1)),
            world.sleep(GIVE_UP_MS),
          ]),
        );
        if (reply && reply.status === 200) body = new TextDecoder().decode(reply.body);
        else await world.settle(world.sleep(500));
      }
      if (body === undefined)
        violations.push({
          rule: 'stuck',
          text: `${shard} does not answer at ${region} after the faults ended`,
        });
      else answers.push(body);
    }
    if (new Set(answers).size > 1)
      violations.push({ rule: 'diverged', text: `${shard} answers differently: ${answers.join(' | ')}` });
    if (answers[0] !== undefined) finals.set(shard, JSON.parse(answers[0]) as FinalState);
  }
  return finals;
}

/** No migration may still run once nobody orders any. */
function stuck(cluster: SimCluster): Violation[] {
  const running =
    cluster
      .leader()
      ?.executor.list()
      .filter(({ outcome }) => outcome === undefined) ?? [];
  const violations = running.map(
    (one): Violation => ({
      rule: 'stuck',
      text: `migration ${one.id} of ${one.shard} is still at ${one.step}: ${one.detail ?? ''}`,
    }),
  );
  if (!cluster.leader()) violations.push({ rule: 'stuck', text: 'no controller leads' });
  return violations;
}

function request(
  shard: ShardId,
  handler: string,
  input: unknown,
  origin: Region,
  user: number,
): ShardRequest {
  return {
    shard,
    handler,
    input: input === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(input)),
    method: handler === 'add' ? 'post' : 'get',
    origin,
    userHash: user,
    hops: 0,
  };
}

/** Each user works on one shard after another: a command or a query, a pause, the next. Nobody retries. */
class Users {
  readonly #cluster: SimCluster;
  readonly #history: History;
  readonly #shards: ShardId[];
  readonly #random: Random;
  readonly #perRegion: number;
  #stopped = false;

  constructor(cluster: SimCluster, history: History, shards: ShardId[], random: Random, perRegion: number) {
    this.#cluster = cluster;
    this.#history = history;
    this.#shards = shards;
    this.#random = random;
    this.#perRegion = perRegion;
  }

  start(): void {
    for (const region of this.#cluster.regions) {
      // Two thirds come through the gateway; the others hold on to one node, whatever has become of it.
      for (let i = 0; i < this.#perRegion; i++) {
        const at = i % 3 === 2 ? `${region}-n${1 + (i % 2)}` : `gateway-${region}`;
        void this.#live(`${region}-u${i}`, region, at);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #live(client: string, region: Region, at: string): Promise<void> {
    const { world } = this.#cluster;
    const random = this.#random.split(client);
    const numbers = new Map<ShardId, number>();
    while (!this.#stopped) {
      await world.sleep(20 + random.next() * 200);
      const shard = this.#shards[Math.floor(random.next() * this.#shards.length)]!;
      const isCommand = random.next() < 0.6;
      const number = isCommand ? (numbers.get(shard) ?? 0) + 1 : 0;
      if (isCommand) numbers.set(shard, number);
      // Some who only look do not mind a little delay; some ask for more than the service gives.
      const staleMsMax = !isCommand && random.next() < 0.5 ? Math.floor(random.next() * 4_000) : undefined;
      const operation = this.#history.invoke({
        shard,
        kind: isCommand ? 'command' : 'query',
        client,
        number,
        invokedMs: world.nowMs,
        ...(staleMsMax === undefined ? {} : { staleMsMax: Math.min(staleMsMax, STALE_MS_MAX) }),
      });
      const sent = request(
        shard,
        isCommand ? 'add' : 'get',
        isCommand ? { client, number } : undefined,
        region,
        hash32(client),
      );
      if (staleMsMax !== undefined) sent.staleMsMax = staleMsMax;
      const reply = await Promise.race([this.#cluster.execute(at, sent), world.sleep(GIVE_UP_MS)]);
      if (!reply) continue;
      operation.returnedMs = world.nowMs;
      operation.status = reply.status;
      operation.seq = reply.seq;
      operation.epoch = reply.epoch;
      if (reply.stalenessMs !== undefined) operation.stalenessMs = reply.stalenessMs;
      operation.servedBy = reply.servedBy;
      if (reply.status === 200)
        operation.value = (JSON.parse(new TextDecoder().decode(reply.body)) as TallyReply).total;
    }
  }
}

/** Crashes, lost hosts, pauses, partitions, slow networks and drains, a few at a time. */
class Faults {
  readonly counts: Record<string, number> = {};
  readonly #cluster: SimCluster;
  readonly #random: Random;
  readonly #everyMs: number;
  readonly #names: string[] | undefined;
  #stopped = false;

  constructor(cluster: SimCluster, random: Random, everyMs: number, names?: string[]) {
    this.#cluster = cluster;
    this.#random = random;
    this.#everyMs = everyMs;
    this.#names = names;
  }

  start(): void {
    if (this.#everyMs > 0) this.#next();
  }

  stop(): void {
    this.#stopped = true;
    this.#cluster.heal();
    this.#cluster.fabric.slowness = 1;
    this.#cluster.fabric.jitterMs = 1;
  }

  #next(): void {
    // Exponential pauses: now and then two faults fall together.
    const delayMs = -Math.log(1 - this.#random.next()) * this.#everyMs;
    this.#cluster.world.after(delayMs, () => {
      if (this.#stopped) return;
      this.#one();
      this.#next();
    });
  }

  #one(): void {
    const cluster = this.#cluster;
    const { world } = cluster;
    const any = (role: 'store' | 'node' | 'gateway' | 'controller') => this.#pick(cluster.names(role));
    const faults: [name: string, weight: number, harm: () => void][] = [
      ['node crash', 4, () => cluster.crash(any('node'))],
      ['host lost', 2, () => cluster.crash(any('node'), { silently: true })],
      ['store crash', 2, () => cluster.crash(any('store'))],
      ['gateway crash', 1, () => cluster.crash(any('gateway'))],
      ['controller crash', 2, () => cluster.crash(any('controller'))],
      ['short pause', 2, () => cluster.pause(any('node'), 200 + this.#random.next() * 1_500)],
      ['pause beyond the lease', 2, () => cluster.pause(any('node'), 3_500 + this.#random.next() * 4_000)],
      ['controller pause', 1, () => cluster.pause(any('controller'), 1_000 + this.#random.next() * 9_000)],
      ['partition', 4, () => this.#partition()],
      [
        'slow network',
        1,
        () => {
          cluster.fabric.slowness = 1 + this.#random.next() * 3;
          cluster.fabric.jitterMs = this.#random.next() * 100;
          world.note(`the network is ${cluster.fabric.slowness.toFixed(1)} times as slow`);
          world.after(3_000, () => {
            cluster.fabric.slowness = 1;
            cluster.fabric.jitterMs = 1;
          });
        },
      ],
    ];
    const possible = faults.filter(([name]) => this.#names?.includes(name) ?? true);
    const total = possible.reduce((sum, [, weight]) => sum + weight, 0);
    let draw = this.#random.next() * total;
    for (const [name, weight, harm] of possible) {
      draw -= weight;
      if (draw >= 0) continue;
      this.counts[name] = (this.counts[name] ?? 0) + 1;
      harm();
      return;
    }
  }

  #partition(): void {
    const cluster = this.#cluster;
    const names = [
      ...cluster.names('node'),
      ...cluster.names('store'),
      ...cluster.names('gateway'),
      ...cluster.names('controller'),
    ];
    const a = this.#pick(names);
    const b = this.#pick(names.filter((name) => name !== a));
    const forMs = 500 + this.#random.next() * 8_000;
    if (this.#random.next() < 0.3) {
      cluster.world.note(`${a} cannot reach ${b}`);
      cluster.fabric.cut(a, b);
    } else cluster.partition(a, b);
    cluster.world.after(forMs, () => {
      cluster.fabric.heal(a, b);
      cluster.fabric.heal(b, a);
      cluster.world.note(`${a} and ${b} reach each other again`);
    });
  }

  #pick<T>(from: T[]): T {
    return from[Math.floor(this.#random.next() * from.length)]!;
  }
}
