/**
 * Test plan: what npm would publish works for a stranger: pack it, install the archive in an empty folder, write the
 * README's service there word for word, start it with the installed command, and call it over HTTP and with the client.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'skein-package-'));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const service = readme
  .split('```ts\n')
  .map((block) => block.split('```')[0]!)
  .find((block) => block.startsWith('// counter.ts'))!;
let archive: string;

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: root, stdio: 'pipe' });
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
    encoding: 'utf8',
  });
  archive = join(folder, (JSON.parse(packed) as { filename: string }[])[0]!.filename);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('holds what it needs and nothing else', () => {
  const files = execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' }).trim().split('\n');
  for (const wanted of [
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'bin/skein.mjs',
    'dist/sdk/index.js',
    'dist/sdk/index.d.ts',
    'dist/cli/main.js',
  ]) {
    expect(files).toContain(`package/${wanted}`);
  }
  expect(files.filter((file) => /\.test\.|^package\/(?:src|test|tools|bench)\//.test(file))).toEqual([]);
});

it('runs the 20-line service of the README in an empty folder', { timeout: 120_000 }, async () => {
  expect(service.trim().split('\n').length).toBeLessThanOrEqual(22);
  const home = join(folder, 'app');
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), '{"type":"module","private":true}');
  writeFileSync(join(home, 'counter.ts'), service);
  execFileSync(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', archive],
    {
      cwd: home,
      stdio: 'pipe',
    },
  );

  const child = spawn(
    process.execPath,
    [
      join(home, 'node_modules/skein/bin/skein.mjs'),
      'dev',
      '--app',
      'counter.ts',
      '--no-load',
      '--nodes',
      '1',
      '--regions',
      'us-east-1',
      '--port',
      '27080',
      '--api-port',
      '27081',
    ],
    { cwd: home, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  try {
    await listening(child, 'http://127.0.0.1:27080/readyz');
    const post = await fetch('http://127.0.0.1:27080/counter/apples/add', {
      method: 'POST',
      body: JSON.stringify({ amount: 2, who: 'ada' }),
    });
    expect(await post.json()).toBe(2);
    writeFileSync(
      join(home, 'client.mjs'),
      `import { createClient } from 'skein';
       const client = createClient('http://127.0.0.1:27080');
       console.log(JSON.stringify([await client.counter('apples').add({ amount: 1, who: 'bob' }), await client.counter('apples').top()]));`,
    );
    const out = execFileSync(process.execPath, ['client.mjs'], { cwd: home, encoding: 'utf8' });
    expect(JSON.parse(out)).toEqual([3, ['ada', 2]]);
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }
});

async function listening(child: ChildProcess, url: string): Promise<void> {
  let output = '';
  child.stdout!.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr!.on('data', (chunk) => {
    output += chunk;
  });
  for (;;) {
    if (child.exitCode !== null) throw new Error(`skein dev ended with ${child.exitCode}:\n${output}`);
    if (
      await fetch(url).then(
        (reply) => reply.ok,
        () => false,
      )
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
