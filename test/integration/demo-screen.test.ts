/** The live screen is a pure function of the view: these are its pictures. Read the diff before you accept one. */
import { describe, expect, it } from 'vitest';
import { EventParser } from '../../examples/demo/controller-feed.ts';
import { renderLine, renderScreen, spark } from '../../examples/demo/screen.ts';
import { DemoModel, type MigrationEvent } from '../../examples/demo/view.ts';

const regions = ['us-east-1', 'eu-west-1', 'ap-northeast-1'];
const plain = { columns: 80, rows: 24, color: false };

function migration(id: string, more: Partial<MigrationEvent>): MigrationEvent {
  return {
    id,
    shard: `room/r${id}`,
    source: 'us-east-1-n1.aaaaaaaaaa',
    target: 'eu-west-1-n2.bbbbbbbbbb',
    step: 'transferring',
    percent: 0,
    reason: 'nearer to its users',
    priority: 'improve',
    startedAtMs: 1000,
    atMs: 1000,
    ...more,
  };
}

function busyModel(): DemoModel {
  const model = new DemoModel({ title: 'predictive', regions, dayS: 60, forS: 180 });
  model.onLoad({
    type: 'report',
    atS: 75,
    requestsPerSecond: 312,
    totalRequests: 22_345,
    totalFailed: 0,
    acknowledged: 6702,
    inFlight: 4,
    byOrigin: {
      'us-east-1': { requests: 900, failed: 0, p50Ms: 1.44, p99Ms: 88.2 },
      'eu-west-1': { requests: 450, failed: 0, p50Ms: 1.2, p99Ms: 171 },
      'ap-northeast-1': { requests: 90, failed: 0, p50Ms: 3.7, p99Ms: 216.4 },
    },
  });
  model.onNodes([
    { name: 'us-east-1-n1', region: 'us-east-1', shards: 500, state: 'ready' },
    { name: 'us-east-1-n2', region: 'us-east-1', shards: 480, state: 'ready' },
    { name: 'eu-west-1-n1', region: 'eu-west-1', shards: 400, state: 'ready' },
    { name: 'ap-northeast-1-n1', region: 'ap-northeast-1', shards: 120, state: 'ready' },
  ]);
  model.onForecast({ stepS: 1, history: [100, 150, 220, 312], foreseen: [null, 140, 230, 300] });
  model.onMigration(migration('0001', { step: 'shifting', percent: 25 }));
  model.onMigration(migration('0002', {}));
  model.onMigration(migration('0003', { step: 'done', percent: 100, outcome: 'completed', endedAtMs: 3000 }));
  model.onDecision({
    tick: 74,
    atMs: 74_000,
    mode: 'auto',
    outcome: 'planned',
    reason: '2 moves, worth 0.004 USD an hour',
    plan: {
      generation: 9,
      parent: 8,
      madeAtMs: 74_000,
      moves: [
        {
          shard: 'room/r0001',
          source: 'us-east-1-n1.aaaaaaaaaa',
          target: 'eu-west-1-n2.bbbbbbbbbb',
          cell: 'cell-eu-west-1',
          epoch: 3,
          priority: 'improve',
          bytes: 2048,
          reason: {
            text: 'its users in eu-west-1 wake up: 61 ms to 14 ms foreseen',
            gainUsdPerHour: 0.004,
            costUsdPerHour: 0.001,
            latencyMsNow: 61,
            latencyMsThen: 14,
          },
        },
      ],
    },
    tookMs: { forecast: 12, placement: 30 },
  });
  return model;
}

describe('the screen', () => {
  it('shows load, latency, forecast, where the shards are, moves and why', () => {
    expect(renderScreen(busyModel().view(), plain).join('\n')).toMatchInlineSnapshot(`
      "skein  predictive  day 2 (a day is 60 s)  75 s of 3 min 00 s      Ctrl-C ends it
      312 requests/s, 22,345 in all, 0 failed, 6,702 commands acknowledged

      origin            local time     p50        p99     failed  asking
      us-east-1           01:00      1.4 ms      88 ms         0  ██████████████████
      eu-west-1           06:00      1.2 ms     171 ms         0  █████████
      ap-northeast-1      15:00      3.7 ms     216 ms         0  ██

      requests/s        ▃▄▆█
      as foreseen        ▄▆█
      in us-east-1      ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ 980 shards on 2 nodes
      in eu-west-1      ▒▒▒▒▒▒▒▒▒▒▒ 400 shards on 1 node
      in ap-northeast-1 ▒▒▒ 120 shards on 1 node

      moves             2 under way, 1 completed
        room/r0001 us-east-1-n1 -> eu-west-1-n2 shifting 25 %
        room/r0002 us-east-1-n1 -> eu-west-1-n2 transferring

      tick 74, planned: 2 moves, worth 0.004 USD an hour | tick 74 moved room/r0001:
      its users in eu-west-1 wake up: 61 ms to 14 ms foreseen"
    `);
  });

  it('says that it starts while there is nothing to show', () => {
    const model = new DemoModel({ title: 'static', regions, dayS: 60 });
    expect(renderScreen(model.view(), plain)).toMatchInlineSnapshot(`
      [
        "skein  static  day 1 (a day is 60 s)  0 s                         Ctrl-C ends it",
        "",
        "starting ...",
      ]
    `);
    expect(renderLine(model.view())).toBe('static: starting');
  });

  it('shows failures and restarts', () => {
    const model = busyModel();
    const report = model.view().load!;
    model.onLoad({ ...report, totalFailed: 2, lastFailure: 'POST /room/r0001/say was answered 503: {}' });
    model.onProcess({
      type: 'exited',
      role: 'node',
      name: 'n1',
      processId: 'n1.a',
      reason: 'ended by SIGKILL',
      logTail: '',
    });
    const text = renderScreen(model.view(), { ...plain, rows: 40 }).join('\n');
    expect(text).toContain('2 failed');
    expect(text).toContain('failure: POST /room/r0001/say was answered 503');
    expect(text).toContain('n1 ended by SIGKILL');
  });

  it('never leaves the terminal, however small, and colour changes no letter', () => {
    const view = busyModel().view();
    for (const [columns, rows] of [
      [80, 24],
      [60, 10],
      [200, 60],
    ] as const) {
      const lines = renderScreen(view, { columns, rows, color: false });
      expect(lines.length).toBeLessThanOrEqual(rows);
      const painted = renderScreen(view, { columns, rows, color: true });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is taken away
      expect(painted.map((line) => line.replace(/\u001b\[\d+m/g, ''))).toEqual(lines);
      for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns);
    }
  });

  it('has a line for logs', () => {
    expect(renderLine(busyModel().view())).toMatchInlineSnapshot(
      `"75 s predictive: 312 requests/s; foreseen 300/s | 0 failed | us-east-1 p50 1.4 ms p99 88 ms, eu-west-1 p50 1.2 ms p99 171 ms, ap-northeast-1 p50 3.7 ms p99 216 ms | 2 moves under way (room/r0001 us-east-1-n1 -> eu-west-1-n2 shifting 25 %; room/r0002 us-east-1-n1 -> eu-west-1-n2 transferring), 1 completed, 0 rolled back | tick 74, planned: 2 moves, worth 0.004 USD an hour | tick 74 moved room/r0001: its users in eu-west-1 wake up: 61 ms to 14 ms foreseen"`,
    );
  });

  it('draws values by height, gaps as gaps', () => {
    expect(spark([0, 50, 100, null, 700, -1], 100)).toBe('▁▅█ █▁');
  });
});

describe('the model', () => {
  it('keeps a migration that ended as ended when old news comes again', () => {
    const model = busyModel();
    model.onMigration(migration('0003', { step: 'shifting', percent: 50 }));
    expect(model.view().movesCompleted).toBe(1);
  });

  it('notes when a hand-off began and ended', () => {
    const model = new DemoModel({ title: '', regions, dayS: 60 });
    for (const [step, atMs] of [
      ['shifting', 100],
      ['handing-off', 200],
      ['handing-off', 230],
      ['shifting-after', 260],
      ['decommissioning', 900],
    ] as const) {
      model.onMigration(migration('1', { step, atMs }));
    }
    expect(model.migrations.get('1')!.handOff).toEqual({ fromMs: 200, toMs: 260 });
  });
});

describe('server-sent events', () => {
  it('come out whole however the text is cut', () => {
    const text =
      'retry: 1000\n\n: still here\n\nid: a:7\nevent: decision\ndata: {"a":1}\n\ndata: x\ndata: y\n\n';
    for (let cut = 0; cut <= text.length; cut++) {
      const events: unknown[] = [];
      const parser = new EventParser((event) => events.push(event));
      parser.push(text.slice(0, cut));
      parser.push(text.slice(cut));
      expect(events).toEqual([
        { id: 'a:7', type: 'decision', data: '{"a":1}' },
        { id: '', type: 'message', data: 'x\ny' },
      ]);
    }
  });
});
