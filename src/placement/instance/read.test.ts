/** Bad input names the line, the JSON path and what was expected; good input goes through files unchanged. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { generateInstance } from './generate.ts';
import { InstanceError, InstanceReader } from './read.ts';

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 });

const made = generateInstance({ shards: 3, nodes: 4, regions: 2, seed: 1 });
const header = () => structuredClone(made.header) as unknown as Record<string, unknown>;
const shard = () => structuredClone([...made.shards()][0]!) as unknown as Record<string, unknown>;

function errorOf(change: (h: Record<string, unknown>, s: Record<string, unknown>) => void): InstanceError {
  const h = header();
  const s = shard();
  change(h, s);
  const reader = new InstanceReader();
  try {
    reader.header(JSON.stringify(h));
    reader.shard(JSON.stringify(s));
  } catch (error) {
    if (error instanceof InstanceError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

type Node = { id: string; region: string; capacity: Record<string, unknown> };

describe('an instance that is not sound', () => {
  it.each([
    [1, 'regions', (h) => (h.regions = [])],
    [1, 'rttMs[1]', (h) => ((h.rttMs as number[][])[1] = [1])],
    [1, 'egressUsdPerGb[0][1]', (h) => ((h.egressUsdPerGb as unknown[][])[0]![1] = '1')],
    [1, 'steps', (h) => (h.steps = 0)],
    [1, 'weights.headroom', (h) => (h.weights = { headroom: 1 })],
    [1, 'weights.hedroom', (h) => (h.weights = { hedroom: 0.5 })],
    [1, 'weights.toString', (h) => (h.weights = { toString: 1 })],
    [1, 'weights.quantileZ', (h) => (h.weights = { quantileZ: 1e300 })],
    [1, 'weights.moveHours', (h) => (h.weights = { moveHours: 1e-300 })],
    [1, 'stepWeights[0]', (h) => (h.stepWeights = [1e308, 1e308, 1e308])],
    [1, 'nodes[0].capacity.cpu', (h) => ((h.nodes as Node[])[0]!.capacity.cpu = 1e-300)],
    [1, 'nodes[2].id', (h) => ((h.nodes as Node[])[2]!.id = (h.nodes as Node[])[0]!.id)],
    [1, 'nodes[1].region', (h) => ((h.nodes as Node[])[1]!.region = 'mars-1')],
    [1, 'nodes[0].capacity.memory', (h) => ((h.nodes as Node[])[0]!.capacity.memory = 0)],
    [1, 'cells[0].region', (h) => ((h.cells as Node[])[0]!.region = '')],
    [2, 'load[1].cpu', (_h, s) => ((s.load as Record<string, unknown>[])[1]!.cpu = [1, -1])],
    [2, 'load[0].cpu', (_h, s) => ((s.load as Record<string, unknown>[])[0]!.cpu = [1, 1e300])],
    [2, 'load', (_h, s) => (s.load = [])],
    [2, 'commandsPerSecond.mars-1', (_h, s) => (s.commandsPerSecond = { 'mars-1': [1, 1, 1] })],
    [2, 'standbys', (_h, s) => (s.standbys = 1.5)],
    [2, 'stateBytes', (_h, s) => (s.stateBytes = -1)],
    [2, 'pinnedTo', (_h, s) => (s.pinnedTo = 'nowhere')],
    [2, 'spread', (_h, s) => (s.spread = 'rack')],
    [2, 'standbyNodes[0]', (_h, s) => Object.assign(s, { primary: 'a', standbyNodes: ['a'] })],
  ] as [number, string, (h: Record<string, unknown>, s: Record<string, unknown>) => void][])(
    'is refused at line %d, path %s',
    (line, path, change) => {
      const error = errorOf(change);
      expect([error.line, error.path]).toEqual([line, path]);
      expect(error.message).toContain(`line ${line}: ${path}: expected`);
    },
  );

  it('never passes as something else: any JSON is taken or refused by name', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(shard())), (value, key) => {
        const reader = new InstanceReader();
        reader.header(JSON.stringify(header()));
        try {
          reader.shard(JSON.stringify({ ...shard(), [key]: value }));
        } catch (error) {
          expect(error).toBeInstanceOf(InstanceError);
          expect((error as InstanceError).path.startsWith(key)).toBe(true);
        }
      }),
    );
  });

  it('is refused where a field is misspelt, more or fewer lines come than promised, or the file is packed', () => {
    const reader = new InstanceReader();
    reader.skip();
    expect(() => reader.header('\u001f\u008b')).toThrow(/line 2: .* plain text: unpack the file first/);
    const nodes = [{ ...(header().nodes as Node[])[0], cordond: true }];
    expect(() => new InstanceReader().header(JSON.stringify({ ...header(), nodes }))).toThrow(
      /nodes\[0\]\.cordond: expected one of id, region, .*, got "cordond"/,
    );
    reader.header(`\uFEFF${JSON.stringify({ ...header(), shards: 2 })}`);
    expect(() => reader.shard(JSON.stringify({ ...shard(), primry: 'a' }))).toThrow(
      /line 4: primry: expected/,
    );
    reader.shard(JSON.stringify(shard()));
    expect(() => reader.end()).toThrow(/shards: expected as many as lines follow \(1\), got 2/);
    reader.shard(JSON.stringify({ ...shard(), id: 's/other' }));
    reader.end();
  });

  it('is refused by name where it is nested deeper than could be written, or empty', () => {
    const reader = new InstanceReader();
    expect(() => reader.header('')).toThrow(/line 1: the line: expected a header/);
    reader.header(JSON.stringify(header()));
    const deep = `${'['.repeat(1e5)}${']'.repeat(1e5)}`;
    expect(() => reader.shard(JSON.stringify({ ...shard(), standbys: 'x' }).replace('"x"', deep))).toThrow(
      /line 2: standbys: expected a whole number from 0 to 6, got a deep list/,
    );
  });

  it('is refused where a line is no JSON, or an id comes twice', () => {
    const reader = new InstanceReader();
    reader.header(JSON.stringify(header()));
    expect(() => reader.shard('{"id":')).toThrow(/line 2: the line: expected a JSON object/);
    reader.shard(JSON.stringify(shard()));
    expect(() => reader.shard(JSON.stringify(shard()))).toThrow(/line 4: id: expected an id that no earlier/);
  });
});

describe('the command line', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'skein-placement-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const skein = (...args: string[]) => skeinOn(undefined, ...args);
  const skeinOn = (input: Buffer | undefined, ...args: string[]) =>
    spawnSync(process.execPath, ['--conditions=skein-source', 'src/cli/main.ts', 'placement', ...args], {
      encoding: 'utf8',
      input,
    });

  it('makes an instance, places it, and moves nothing when the result is its input again', () => {
    const [instance, placed] = [join(folder, 'instance.jsonl'), join(folder, 'placed.jsonl')];
    expect(
      skein('generate', '--output', instance, '--shards', '120', '--nodes', '12', '--regions', '3').status,
    ).toBe(0);
    const first = skein(
      'solve',
      '--input',
      instance,
      '--output',
      placed,
      '--json',
      '--quiet',
      '--why',
      'all',
    );
    expect(first.stderr).toBe('');
    expect(first.status).toBe(0);
    const summary = JSON.parse(first.stdout);
    const [head, ...rows] = readFileSync(placed, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(Object.keys(head)).toEqual(['cost', 'lowerBound', 'gap', 'gapOverGreedy', 'moves']);
    expect(head.gap).toBeCloseTo((head.cost.total - head.lowerBound) / head.lowerBound, 12);
    expect(summary).toMatchObject({ shards: 120, feasible: true, moves: 0, gap: head.gap });
    expect(rows).toHaveLength(120);
    expect(rows[0].why).toContain('next best is');
    const lines = readFileSync(instance, 'utf8').trim().split('\n');
    const again = [
      lines[0],
      ...lines.slice(1).map((line, i) => {
        const { primary, standbyNodes } = rows[i];
        return JSON.stringify({ ...JSON.parse(line), primary, standbyNodes });
      }),
    ];
    writeFileSync(join(folder, 'again.jsonl'), `${again.join('\n')}\n`);
    const second = skein(
      'solve',
      '--input',
      join(folder, 'again.jsonl'),
      '--output',
      placed,
      '--json',
      '--quiet',
    );
    expect(JSON.parse(second.stdout).moves).toBe(0);
  });

  it('reads what is packed from standard input, and says on its header line that nothing feasible was found', () => {
    // A line separator inside a text is no end of a line.
    const lost = {
      ...shard(),
      id: 'a\u2028b',
      allowedRegions: [header().regions as string[]].flat().slice(0, 1),
    };
    const nodes = (header().nodes as Node[]).filter(({ region }) => region !== lost.allowedRegions[0]);
    const lines = [{ ...header(), nodes, shards: undefined }, lost].map((line) => JSON.stringify(line));
    const { status, stdout, stderr } = skeinOn(
      gzipSync(lines.join('\r\n')),
      'solve',
      '--input',
      '-',
      '--output',
      '-',
    );
    expect(status).toBe(1);
    const [head, placed] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(head).toMatchObject({ gap: null, gapOverGreedy: null });
    expect(placed).toMatchObject({ id: 'a\u2028b', primary: null });
    expect(stderr).toContain('no feasible placement was found');
    expect(stderr).toContain('cannot be kept: jurisdiction, 2 (a\u2028b): no node may hold it');
  });

  it('says what is wrong with a file, and ends with the status of a wrong command line', () => {
    const file = join(folder, 'bad.jsonl');
    writeFileSync(file, `${JSON.stringify({ ...header(), steps: 'three' })}\n`);
    const bad = skein('solve', '--input', file, '--output', join(folder, 'out.jsonl'));
    expect(bad.status).toBe(2);
    expect(bad.stderr).toContain('line 1: steps: expected a whole number from 1 to 24, got "three"');
    const missing = skein('solve', '--input', join(folder, 'none'), '--output', join(folder, 'out.jsonl'));
    expect(missing.status).toBe(1);
    expect(missing.stderr).toContain('there is no such file');
    // A file that was cut between two lines; and no room is taken for what was only promised.
    const alone = { ...header(), shards: 5_000_000 };
    writeFileSync(file, `\uFEFF\n${JSON.stringify(alone)}\n`);
    const cut = skein('solve', '--input', file, '--output', join(folder, 'out.jsonl'), '--quiet');
    expect(cut.stderr).toContain('shards: expected as many as lines follow (0), got 5000000');
  });
});
