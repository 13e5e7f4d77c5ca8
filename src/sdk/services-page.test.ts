import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import * as limits from '../shard/limits.ts';
import { HANDLER_MS_MAX, InMemory, Refusal } from './index.ts';

// The page's code blocks are put into files and imported: what is printed there runs.
const page = readFileSync(new URL('../../docs/services.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code!);
const folder = mkdtempSync(join(tmpdir(), 'skein-page-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function load(name: string, code: string): Promise<Record<string, unknown>> {
  const file = join(folder, `${name}.ts`);
  const at = (specifier: string) => JSON.stringify(import.meta.resolve(specifier));
  const resolved = code.replaceAll("'skein'", at('./index.ts')).replaceAll("'zod'", at('zod'));
  writeFileSync(file, resolved);
  return import(pathToFileURL(file).href);
}

describe('docs/services.md', () => {
  it('has a first service that runs as described', async () => {
    const { app } = await load('app', blocks[0]!);
    const memory = new InMemory(app as never);
    const shard = (
      memory.client() as never as Record<
        string,
        (key: string) => Record<string, (i: unknown) => Promise<unknown>>
      >
    ).room!('lobby');
    expect(await shard.post!({ from: 'ann', text: 'hello' })).toBe(1);
    expect(await shard.latest!(10)).toMatchObject([{ from: 'ann', text: 'hello' }]);
    await expect(shard.post!({ from: 'ann', text: '' })).rejects.toMatchObject({
      code: 'message-empty',
      status: 422,
    });
    expect(Refusal).toBeDefined();
  });

  it('has a service that calls other systems as described', async () => {
    const code = blocks.find((block) => block.includes('ctx.afterCommit'))!;
    const head = "import { command, defineApp, Refusal, service } from 'skein';\n";
    const { shop } = await load('shop', head + code);
    const sent: { url: string; key: string | null; body: string }[] = [];
    const fetch: typeof globalThis.fetch = async (url, init) => {
      const body = new TextDecoder().decode(init!.body as Uint8Array<ArrayBuffer>);
      sent.push({ url: String(url), key: new Headers(init!.headers).get('idempotency-key'), body });
      return Response.json({ id: 'c-1' });
    };
    const memory = new InMemory(shop as never, { io: { fetch } });
    const post = (handler: string, input: string) =>
      memory.fetch(`http://x/order/o1/${handler}`, { method: 'POST', body: JSON.stringify(input) });
    expect((await post('add', 'tea')).status).toBe(200);
    expect((await post('pay', 'visa')).status).toBe(200);
    await expect.poll(() => sent.length).toBe(2);
    expect(new Set(sent.map(({ url }) => url))).toEqual(
      new Set(['https://hooks.example.com/added', 'https://pay.example.com/charges']),
    );
    expect(sent.every(({ key }) => key !== null)).toBe(true);
    expect(JSON.parse(sent.find(({ url }) => url.includes('pay'))!.body)).toEqual({
      card: 'visa',
      items: ['tea'],
    });
  });

  it('has other examples that load', async () => {
    const imports =
      "import { command, defineApp, InMemory, query, Refusal, service } from 'skein';\nimport { app } from './app.ts';\n";
    const room = 'const room = app.services[0];\n';
    for (const [i, block] of blocks.entries()) {
      if (i < 2) continue;
      const own = block.replace(/import { InMemory } from 'skein';\n/, '');
      await load(
        `block-${i}`,
        `${imports}${room}${own}\nvoid [command, defineApp, InMemory, query, Refusal, service, room];`,
      );
    }
  });

  it('names the limits that the code has', () => {
    const mb = 1 << 20;
    expect([limits.BODY_BYTES_MAX, limits.STATE_BYTES_MAX, limits.DELTA_BYTES_MAX]).toEqual([
      mb,
      16 * mb,
      mb,
    ]);
    expect([limits.PENDING_COMMANDS_MAX, limits.PENDING_BYTES_MAX]).toEqual([1_000, 4 * mb]);
    expect([limits.WINDOW_KEYS_MAX, limits.WINDOW_BYTES_MAX]).toEqual([10_000, mb]);
    expect([limits.FETCH_MS_DEFAULT, limits.FETCH_MS_MAX, limits.AFTER_COMMIT_MS_MAX]).toEqual([
      5_000, 30_000, 30_000,
    ]);
    expect([limits.FETCH_BODY_BYTES_MAX, limits.FETCH_RESPONSE_BYTES_MAX]).toEqual([mb, 4 * mb]);
    expect([limits.FETCHES_PER_CALL_MAX, limits.FETCHES_AT_ONCE_MAX]).toEqual([64, 512]);
    expect([
      limits.AFTER_COMMIT_MAX,
      limits.AFTER_COMMITS_AT_ONCE_MAX,
      limits.AFTER_COMMITS_WAITING_MAX,
    ]).toEqual([16, 256, 10_000]);
    expect([limits.WINDOW_AGE_MS_MAX, limits.STATE_DEPTH_MAX, HANDLER_MS_MAX]).toEqual([
      86_400_000, 256, 30_000,
    ]);
  });
});
