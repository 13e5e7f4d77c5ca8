/**
 * The repository checks itself: import arrows, stray clocks, sizes, words that must not be published.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(root, path)));
const sources = tracked.filter((path) => path.startsWith('src/') && path.endsWith('.ts'));
const product = sources.filter((path) => !path.endsWith('.test.ts') && !path.endsWith('conformance.ts'));
const text = (path: string) => readFileSync(join(root, path), 'utf8');
const folderOf = (path: string) => path.split('/')[1]!;

/** What each folder may import besides itself and model/. Data flows down the page of ARCHITECTURE.md. */
const ARROWS: Record<string, string[]> = {
  model: [],
  machine: [],
  io: [],
  wire: ['io'],
  store: ['machine', 'io', 'wire'],
  shard: ['store', 'sdk', 'io', 'node'],
  sdk: ['shard', 'io'],
  routing: ['machine', 'store'],
  metrics: ['machine'],
  forecast: ['machine', 'metrics'],
  placement: ['machine', 'forecast'],
  plan: ['machine', 'placement'],
  migration: ['machine', 'io', 'store', 'node', 'wire'],
  node: ['machine', 'io', 'wire', 'store', 'shard', 'routing', 'gateway', 'sdk'],
  gateway: ['machine', 'io', 'wire', 'store', 'routing', 'node', 'shard'],
  controller: [
    'machine',
    'io',
    'wire',
    'store',
    'metrics',
    'forecast',
    'placement',
    'plan',
    'migration',
    'node',
    'api',
    'routing',
  ],
  // Replays the product's own parts; `io` for seeded randomness alone.
  backtest: ['io', 'metrics', 'forecast', 'placement', 'plan'],
  api: ['io', 'controller', 'migration', 'forecast', 'placement'],
  supervisor: ['io', 'wire', 'store'],
  sim: [
    'machine',
    'io',
    'wire',
    'store',
    'shard',
    'sdk',
    'node',
    'gateway',
    'routing',
    'migration',
    'controller',
    'metrics',
    'forecast',
    'placement',
    'plan',
  ],
  cli: [
    'io',
    'wire',
    'store',
    'node',
    'gateway',
    'controller',
    'api',
    'supervisor',
    'sdk',
    'forecast',
    'backtest',
    'placement',
  ],
};
/** Contract files that two folders share: types only. */
const SEAMS = new Set(['src/node/protocol.ts', 'src/shard/contract.ts', 'src/store/store.ts']);

function importsOf(path: string): { target: string; typeOnly: boolean }[] {
  const found: { target: string; typeOnly: boolean }[] = [];
  const pattern = /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^'";]*?from\s+'(\.[^']+)'|import\('(\.[^']+)'\)/g;
  for (const match of text(path).matchAll(pattern)) {
    const target = normalize(join(dirname(path), match[2] ?? match[3]!));
    found.push({ target, typeOnly: match[1] !== undefined });
  }
  return found;
}

describe('import arrows', () => {
  it('every folder of src is in the table', () => {
    for (const path of sources) expect(ARROWS, path).toHaveProperty(folderOf(path));
  });

  it('go only where the table allows', () => {
    const wrong: string[] = [];
    for (const path of product) {
      const from = folderOf(path);
      for (const { target, typeOnly } of importsOf(path)) {
        if (!target.startsWith('src/')) {
          wrong.push(`${path} -> ${target}`);
          continue;
        }
        const to = folderOf(target);
        if (to === from || to === 'model' || ARROWS[from]!.includes(to)) continue;
        if (SEAMS.has(target) && typeOnly) continue;
        wrong.push(`${path} -> ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('name files that exist, and every file of src is reached from an entry, a test or another file', () => {
    const reached = new Set<string>();
    const everything = tracked.filter((path) => /\.(ts|mjs)$/.test(path));
    for (const path of everything) {
      for (const { target } of importsOf(path)) {
        if (target.startsWith('src/'))
          expect(existsSync(join(root, target)), `${path} imports ${target}`).toBe(true);
        reached.add(target);
      }
    }
    const entries = [
      'src/cli/main.ts',
      'src/sdk/index.ts',
      'src/forecast/index.ts',
      'src/placement/index.ts',
      'src/sim/index.ts',
    ];
    const others = everything.map(text).join('\n');
    const dead = product.filter(
      (path) =>
        !reached.has(path) &&
        !entries.includes(path) &&
        !others.includes(path.slice(path.lastIndexOf('/') + 1)),
    );
    expect(dead).toEqual([]);
  });
});

describe('the world', () => {
  it('is touched only by io/ (and by the files that start processes)', () => {
    const stray =
      /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bMath\.random\(|\bset(?:Timeout|Interval|Immediate)\(|from 'node:(?:net|http|https|dgram|timers[^']*)'/;
    // The simulated world needs one real macrotask turn to drain promises between its events.
    const allowed = new Set(['src/sim/world.ts']);
    const pure = product.filter(
      (path) => !['io', 'cli', 'supervisor'].includes(folderOf(path)) && !allowed.has(path),
    );
    const wrong = pure.flatMap((path) =>
      text(path)
        .split('\n')
        .map((line, i) => ({ line, at: `${path}:${i + 1}` }))
        .filter(({ line }) => stray.test(line) && !/^\s*(?:\*|\/\/|\/\*)/.test(line))
        .map(({ at, line }) => `${at} ${line.trim()}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe('files', () => {
  it('are small rooms', () => {
    const long = product
      .map((path) => [path, text(path).split('\n').length] as const)
      .filter(([, lines]) => lines > 600);
    expect(long).toEqual([]);
  });

  it('say what they do in their first lines', () => {
    const silent = product.filter((path) => !/^(?:#!.*\n)?\s*(?:\/\*\*|\/\/)/.test(text(path)));
    expect(silent).toEqual([]);
  });

  it('hold no path of a machine and no unfinished marks', () => {
    const wrong = tracked
      .filter(
        (path) =>
          /\.(ts|mjs|md|json|sh|ya?ml)$/.test(path) &&
          path !== 'package-lock.json' &&
          path !== 'test/tidy.test.ts',
      )
      .filter((path) => /\/work\/|\/root\/|\bTODO\b|\bFIXME\b|\bXXX\b/.test(text(path)));
    expect(wrong).toEqual([]);
  });

  it('hold no skipped or focused test', () => {
    const wrong = tracked
      .filter((path) => path.endsWith('.test.ts') && path !== 'test/tidy.test.ts')
      .filter((path) => /\b(?:it|test|describe)\.(?:skip|only|todo|fails)\b/.test(text(path)));
    expect(wrong).toEqual([]);
  });
});

it('every environment variable that the product reads is documented', () => {
  const names = new Set(
    product.flatMap((path) => [...text(path).matchAll(/process\.env\.([A-Z_]+)/g)].map((m) => m[1]!)),
  );
  const docs = tracked
    .filter((path) => path.endsWith('.md'))
    .map(text)
    .join('\n');
  const undocumented = [...names].filter((name) => name.startsWith('SKEIN') && !docs.includes(name));
  expect(undocumented).toEqual([]);
});

it('every link between pages leads to a file and a heading that are there', () => {
  const pages = tracked.filter((path) => path.endsWith('.md'));
  const prose = (page: string) => text(page).replace(/^```.*?^```/gms, '');
  // As GitHub names them.
  const anchors = (page: string) =>
    [...prose(page).matchAll(/^#{1,6} (.*)$/gm)].map(([, heading]) =>
      heading!
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}_ -]/gu, '')
        .replaceAll(' ', '-'),
    );
  const broken = pages.flatMap((page) =>
    [...prose(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)/g)]
      .filter(([, path, anchor]) => {
        const target = path === '' ? page : normalize(join(dirname(page), path!));
        if (!existsSync(join(root, target))) return true;
        return anchor !== undefined && target.endsWith('.md') && !anchors(target).includes(anchor);
      })
      .map(([link]) => `${page} ${link}`),
  );
  expect(broken).toEqual([]);
});

describe('the published package', () => {
  it('imports only what is installed with it', () => {
    const { name, dependencies, peerDependencies } = JSON.parse(text('package.json'));
    const installed = new Set([name, ...Object.keys(dependencies), ...Object.keys(peerDependencies)]);
    const missing = product.flatMap((path) =>
      [...text(path).matchAll(/(?:from|import\()\s*'((?:@[\w-]+\/)?[a-z][\w.-]*)(?:\/[^']*)?'/g)]
        .map(([, imported]) => imported!)
        .filter((imported) => !installed.has(imported))
        .map((imported) => `${path}: ${imported}`),
    );
    expect(missing).toEqual([]);
  });
});
