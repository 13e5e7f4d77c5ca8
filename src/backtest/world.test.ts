/**
 * Test plan: random small clusters with random orders (start, drain, move, fail) under random load are replayed by the world and
 * by a slow twin that goes through time in tenths of a second and applies docs/backtest.md literally. Dollars,
 * minutes over the objective, backlogs and where every shard ends must agree.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ClusterModel, DEFAULT_CLUSTER } from './model.ts';
import type { Workload } from './workload.ts';
import { rendezvous, World } from './world.ts';

const REGIONS = ['us-east-1', 'eu-west-1'];
const STEP_S = 60;
const TICK_S = 0.1;

interface Order {
  step: number;
  kind: 'start' | 'drain' | 'move' | 'fail';
  a: number;
  b: number;
}

interface Case {
  /** `rates[step][shard * 2 + origin]`. */
  rates: number[][];
  stateMb: number[];
  first: number[];
  orders: Order[];
}

const SHARDS = 5;
const STEPS = 6;

const cases: fc.Arbitrary<Case> = fc.record({
  rates: fc.array(
    fc.array(fc.integer({ min: 0, max: 70 }), { minLength: SHARDS * 2, maxLength: SHARDS * 2 }),
    {
      minLength: STEPS,
      maxLength: STEPS,
    },
  ),
  stateMb: fc.array(fc.integer({ min: 100, max: 9000 }), { minLength: SHARDS, maxLength: SHARDS }),
  first: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: SHARDS, maxLength: SHARDS }),
  orders: fc.array(
    fc.record({
      step: fc.integer({ min: 0, max: STEPS - 1 }),
      kind: fc.constantFrom('start', 'drain', 'fail', 'move', 'move', 'move') as fc.Arbitrary<Order['kind']>,
      a: fc.integer({ min: 0, max: 9 }),
      b: fc.integer({ min: 0, max: 9 }),
    }),
    { maxLength: 12 },
  ),
});

const model: ClusterModel = {
  ...DEFAULT_CLUSTER,
  nodeStartS: 25,
  movesPerNode: 2,
  movesInFlight: 3,
  waitMaxS: 8,
};

function workloadOf({ rates, stateMb }: Case): Workload {
  return {
    stepS: STEP_S,
    steps: STEPS,
    t0Ms: 0,
    shards: stateMb.map((_, s) => `load/${s}`),
    regions: REGIONS,
    stateBytes: Float64Array.from(stateMb, (mb) => mb * 1e6),
    home: new Uint8Array(stateMb.length),
    fill: (step, into) => into.set(rates[step]!),
  };
}

interface Outcome {
  usd: number;
  egressUsd: number;
  minutesOver: number;
  moves: number;
  place: number[];
  waits: number[];
}

function byWorld(given: Case): Outcome {
  const workload = workloadOf(given);
  const world = new World(model, workload, 0);
  const rates = given.rates.map((row) => Float64Array.from(row));
  world.setRates(rates[0]!);
  for (const region of [0, 1, 0]) world.startNode(region, true);
  given.first.forEach((node, s) => {
    world.put(s, world.nodes[node]!);
  });
  world.score.active = true;
  for (let step = 0; step < STEPS; step++) {
    world.setRates(rates[step]!);
    const wishes = [];
    for (const order of given.orders.filter((one) => one.step === step)) {
      const node = world.byIndex[order.b % world.byIndex.length]!;
      if (order.kind === 'start') world.startNode(order.a % 2);
      else if (order.kind === 'move') wishes.push({ shard: order.a % SHARDS, to: node.index });
      else if (order.kind === 'fail') {
        if (node.state === 'ready' && world.nodes.filter(({ state }) => state === 'ready').length > 1)
          world.fail(node);
      } else if (node.state === 'ready' && world.nodes.filter(({ state }) => state === 'ready').length > 1)
        world.drain(node);
    }
    world.wish(wishes.filter(({ to }) => world.byIndex[to]!.state === 'ready'));
    while (world.advance((step + 1) * STEP_S) === 'ready');
  }
  return {
    usd: world.score.usdNodes,
    egressUsd: world.score.usdEgress + world.score.usdMoves,
    minutesOver: world.score.minutesOver,
    moves: world.score.moves,
    place: [...world.place],
    waits: world.byIndex.filter(({ state }) => state !== 'gone').map(({ waitS }) => waitS),
  };
}

/** The same by small steps, without anything that is kept incrementally. */
function byTwin(given: Case): Outcome {
  interface Node {
    region: number;
    state: 'starting' | 'ready' | 'draining' | 'gone';
    readyAt: number;
    wait: number;
  }
  const nodes: Node[] = [0, 1, 0].map((region) => ({ region, state: 'ready', readyAt: 0, wait: 0 }));
  const place = [...given.first];
  const flights: { shard: number; from: number; to: number; bytes: number; fixed: number }[] = [];
  let queue: { shard: number; to: number }[] = [];
  const out = { usd: 0, egressUsd: 0, minutesOver: 0, moves: 0 };
  const { topology } = model;
  const way = (from: number, to: number) => topology.rttMs[REGIONS[from]!]![REGIONS[to]!]!;
  const perGb = (from: number, to: number) => topology.egressUsdPerGb[REGIONS[from]!]![REGIONS[to]!]!;
  const pump = () => {
    queue = queue.filter(({ shard, to }) => {
      const from = place[shard]!;
      if (
        from === -1 ||
        from === to ||
        flights.some((flight) => flight.shard === shard) ||
        nodes[to]!.state !== 'ready'
      )
        return false;
      const out = flights.filter((flight) => flight.from === from).length;
      const into = flights.filter((flight) => flight.to === to).length;
      if (flights.length >= model.movesInFlight || out >= model.movesPerNode || into >= model.movesPerNode)
        return true;
      flights.push({ shard, from, to, bytes: given.stateMb[shard]! * 1e6, fixed: model.moveFixedS });
      return false;
    });
  };
  const takeOver = (shard: number, region: number) => {
    const ready = nodes.map((node, index) => ({ ...node, index })).filter(({ state }) => state === 'ready');
    const near = ready.filter((node) => node.region === region);
    const to = rendezvous(shard, (near.length > 0 ? near : ready) as never).index;
    flights.push({ shard, from: -1, to, bytes: given.stateMb[shard]! * 1e6, fixed: model.failoverS });
  };
  const fail = (n: number, now: number) => {
    nodes[n]!.state = 'gone';
    const { region } = nodes[n]!;
    const lost = flights.filter(({ from, to }) => from === -1 && to === n).map(({ shard }) => shard);
    for (const flight of flights.filter(({ from, to }) => from === n || to === n))
      flights.splice(flights.indexOf(flight), 1);
    place.forEach((at, s) => {
      if (at !== n) return;
      place[s] = -1;
      lost.push(s);
    });
    nodes.push({ region, state: 'starting', readyAt: now + model.nodeStartS, wait: 0 });
    for (const shard of lost) takeOver(shard, region);
  };
  const collect = () => {
    nodes.forEach((node, n) => {
      if (node.state === 'draining' && !place.includes(n) && !flights.some(({ to }) => to === n))
        node.state = 'gone';
    });
  };
  for (let step = 0; step < STEPS; step++) {
    const rates = given.rates[step]!;
    queue = [];
    for (const order of given.orders.filter((one) => one.step === step)) {
      const n = order.b % nodes.length;
      if (order.kind === 'start')
        nodes.push({
          region: order.a % 2,
          state: 'starting',
          readyAt: step * STEP_S + model.nodeStartS,
          wait: 0,
        });
      else if (order.kind === 'move') queue.push({ shard: order.a % SHARDS, to: n });
      else if (order.kind === 'fail') {
        if (nodes[n]!.state === 'ready' && nodes.filter(({ state }) => state === 'ready').length > 1)
          fail(n, step * STEP_S);
      } else if (nodes[n]!.state === 'ready' && nodes.filter(({ state }) => state === 'ready').length > 1) {
        nodes[n]!.state = 'draining';
        collect();
      }
    }
    queue = queue.filter(({ to }) => nodes[to]!.state === 'ready');
    pump();
    for (let tick = 0; tick < STEP_S / TICK_S; tick++) {
      // What copies may take of a node's CPU, in bytes a second, shared by those that end there.
      const paceAt = (n: number) => {
        const requests = place.reduce(
          (sum, at, s) => sum + (at === n ? rates[s * 2]! + rates[s * 2 + 1]! : 0),
          0,
        );
        const share = (requests * model.cpuSecondsPerRequest) / model.nodeCpu;
        const room = share >= 0.85 ? 1 : Math.max(0.02, 0.85 - share);
        const ends = flights.filter(({ from, to }) => from === n || to === n).length;
        return ((room * model.nodeCpu) / model.moveCpuSecondsPerGb / ends) * 1e9;
      };
      const speeds = flights.map((flight) => {
        if (flight.bytes <= 0) return 0;
        const atOnce = Math.max(
          flight.from === -1 ? 1 : flights.filter(({ from }) => from === flight.from).length,
          flights.filter(({ to }) => to === flight.to).length,
        );
        const wire = model.moveBytesPerSecond / atOnce;
        return flight.from === -1 ? wire : Math.min(wire, paceAt(flight.from), paceAt(flight.to));
      });
      let all = 0;
      let over = 0;
      nodes.forEach((node, n) => {
        if (node.state === 'gone') return;
        out.usd += (topology.nodeUsdPerHour[REGIONS[node.region]!]! * TICK_S) / 3600;
        if (node.state === 'starting') return;
        const asked = [0, 1].map((origin) =>
          place.reduce((sum, at, s) => sum + (at === n ? rates[s * 2 + origin]! : 0), 0),
        );
        const moving = flights.reduce(
          (sum, { from, to }, i) =>
            sum + (from === n || to === n ? (speeds[i]! / 1e9) * model.moveCpuSecondsPerGb : 0),
          0,
        );
        const rho = ((asked[0]! + asked[1]!) * model.cpuSecondsPerRequest + moving) / model.nodeCpu;
        const sojournMs =
          (1000 * Math.log(100) * (model.cpuSecondsPerRequest / model.nodeCpu)) / (1 - Math.min(0.995, rho));
        asked.forEach((rate, origin) => {
          const wayMs = way(origin, node.region) + model.commandShare * way(node.region, node.region);
          all += rate;
          if (wayMs + sojournMs + 1000 * node.wait > model.objectiveMs) over += rate;
          out.egressUsd += (rate * TICK_S * model.bytesPerRequest * perGb(node.region, origin)) / 1e9;
        });
        node.wait = Math.min(model.waitMaxS, Math.max(0, node.wait + (rho - 1) * TICK_S));
      });
      place.forEach((at, s) => {
        if (at !== -1) return;
        all += rates[s * 2]! + rates[s * 2 + 1]!;
        over += rates[s * 2]! + rates[s * 2 + 1]!;
      });
      if (all > 0) out.minutesOver += ((over / all) * TICK_S) / 60;
      const now = step * STEP_S + (tick + 1) * TICK_S;
      flights.forEach((flight, i) => {
        if (flight.bytes > 0) flight.bytes = Math.max(0, flight.bytes - speeds[i]! * TICK_S);
        else flight.fixed -= TICK_S;
      });
      const landed = flights.filter(({ bytes, fixed }) => bytes <= 0 && fixed <= 1e-9);
      for (const flight of landed) {
        flights.splice(flights.indexOf(flight), 1);
        place[flight.shard] = flight.to;
        if (flight.from === -1) continue;
        out.moves++;
        out.egressUsd +=
          (given.stateMb[flight.shard]! * 1e6 * perGb(nodes[flight.from]!.region, nodes[flight.to]!.region)) /
          1e9;
      }
      if (landed.length > 0) collect();
      for (const node of nodes)
        if (node.state === 'starting' && node.readyAt <= now + 1e-9) node.state = 'ready';
      if (landed.length > 0) pump();
    }
  }
  return { ...out, place, waits: nodes.filter(({ state }) => state !== 'gone').map(({ wait }) => wait) };
}

describe('the replayed cluster', () => {
  it('agrees with its slow twin in dollars, minutes over the objective, moves and backlogs', () => {
    fc.assert(
      fc.property(cases, (given) => {
        const world = byWorld(given);
        const twin = byTwin(given);
        // Ends of moves are up to a second apart (the world handles close events together), orders start on whole steps.
        expect(Math.abs(world.usd - twin.usd)).toBeLessThanOrEqual(0.02 * twin.usd);
        expect(Math.abs(world.minutesOver - twin.minutesOver)).toBeLessThanOrEqual(
          0.1 + 0.03 * twin.minutesOver,
        );
        expect(Math.abs(world.moves - twin.moves)).toBeLessThanOrEqual(1);
        if (world.moves !== twin.moves) return;
        expect(world.place).toEqual(twin.place);
        expect(Math.abs(world.egressUsd - twin.egressUsd)).toBeLessThanOrEqual(0.01 * twin.egressUsd + 1e-9);
        world.waits.forEach((wait, i) => {
          expect(Math.abs(wait - twin.waits[i]!)).toBeLessThanOrEqual(1.5);
        });
      }),
      { numRuns: 25 },
    );
  });

  it('pays a node from the asking, and serves from when it is ready', () => {
    const given: Case = {
      rates: Array.from({ length: STEPS }, () => new Array(SHARDS * 2).fill(0)),
      stateMb: [1, 1, 1, 1, 1],
      first: [0, 0, 0, 0, 0],
      orders: [{ step: 0, kind: 'start', a: 0, b: 0 }],
    };
    const price = model.topology.nodeUsdPerHour;
    const hours = (STEPS * STEP_S) / 3600;
    expect(byWorld(given).usd).toBeCloseTo(hours * (3 * price['us-east-1']! + price['eu-west-1']!), 9);
  });
});
