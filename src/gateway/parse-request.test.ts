import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseProblem } from '../model/errors.ts';
import { encodeKey, hash32, KEY_BYTES_MAX, parseShardId } from '../model/ids.ts';
import { type ParseConfig, type ParseInput, parseIdempotencyKey, parseRequest } from './parse-request.ts';

const config: ParseConfig = {
  region: 'eu-west-1',
  isTrustedProxy: (address) => address === '10.0.0.1' || address === '10.0.0.2',
  needsHeaders: (service) => service === 'guarded',
};
const post = (target: string, headers: ParseInput['headers'] = {}, body = ''): ParseInput => ({
  method: 'POST',
  target,
  headers: body === '' ? headers : { 'content-type': 'application/json', ...headers },
  body: Buffer.from(body),
  remoteAddress: '192.0.2.7',
});
const parse = (input: ParseInput) => parseRequest(input, config);
function accepted(input: ParseInput) {
  const result = parse(input);
  if (!result.ok) throw new Error(Buffer.from(result.reply.body).toString());
  return result.request;
}
function refused(input: ParseInput) {
  const result = parse(input);
  if (result.ok) throw new Error(`accepted as ${result.request.shard}`);
  return parseProblem(Buffer.from(result.reply.body).toString())!;
}

/** Writes some characters of a key percent-encoded that need not be, in either case. */
const spelling = fc.tuple(
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
  fc.infiniteStream(fc.nat(2)),
);

describe('paths', () => {
  it('takes every valid spelling of a key to its one canonical id', () => {
    fc.assert(
      fc.property(spelling, ([key, choices]) => {
        fc.pre(key !== '.' && key !== '..' && key.isWellFormed());
        let spelled = '';
        for (const character of key) {
          const choice = choices.next().value!;
          const bytes = [...Buffer.from(character)].map((byte) => byte.toString(16).padStart(2, '0'));
          const plain = /^[A-Za-z0-9._~!$&'()*+,;=:@-]$/.test(character);
          if (plain && choice === 0) spelled += character;
          else spelled += bytes.map((hex) => `%${choice === 1 ? hex : hex.toUpperCase()}`).join('');
        }
        const request = accepted(post(`/room/${spelled}/add`));
        expect(request.shard).toBe(`room/${encodeKey(key)}`);
        expect(parseShardId(request.shard)).toEqual({ service: 'room', key });
      }),
    );
  });

  it('never throws and never lets a key out of its segment, whatever the path', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.webPath(),
      fc
        .array(
          fc.constantFrom(
            '/',
            '.',
            '..',
            '%2e',
            '%2F',
            '%',
            '%zz',
            '%ff',
            '%C0%AF',
            'a',
            '?',
            '#',
            '\\',
            ' ',
          ),
        )
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(hostile, fc.constantFrom('GET', 'POST', 'PUT', 'x'), (path, method) => {
        const result = parse({ ...post(path), method });
        if (!result.ok) {
          expect(parseProblem(Buffer.from(result.reply.body).toString())?.status).toBe(result.reply.status);
          return;
        }
        const { service, key } = parseShardId(result.request.shard);
        expect(`${service}/${encodeKey(key)}`).toBe(result.request.shard);
        expect(result.request.shard.split('/')).toHaveLength(2);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['/room//add', 'key-invalid'],
    ['/room/./add', 'key-invalid'],
    ['/room/../add', 'key-invalid'],
    ['/room/%2e%2E/add', 'key-invalid'],
    ['/room/%2e/add', 'key-invalid'],
    ['/room/%ff/add', 'key-invalid'],
    ['/room/%ED%A0%80/add', 'key-invalid'],
    ['/room/a%/add', 'key-invalid'],
    [`/room/${'k'.repeat(KEY_BYTES_MAX + 1)}/add`, 'key-invalid'],
    [`/room/${'%E2%82%AC'.repeat(KEY_BYTES_MAX)}/add`, 'key-invalid'],
    ['/v1/a/add', 'service-unknown'],
    ['/metrics/a/add', 'service-unknown'],
    ['/Room/a/add', 'service-unknown'],
    ['/%2e%2e/a/add', 'service-unknown'],
    ['/room/a/then', 'handler-unknown'],
    ['/room/a/__proto__', 'handler-unknown'],
    ['/room/a/', 'handler-unknown'],
    ['/room/a/add/', 'not-found'],
    ['/room/a', 'not-found'],
    ['/room/a?/add', 'not-found'],
    ['/', 'not-found'],
    ['', 'not-found'],
    ['room/a/add', 'not-found'],
  ])('refuses %s as %s', (path, code) => {
    expect(refused(post(path)).code).toBe(code);
  });

  it('takes the longest key and the absolute form that proxies send', () => {
    expect(accepted(post(`/room/${'k'.repeat(KEY_BYTES_MAX)}/add`)).handler).toBe('add');
    expect(accepted(post('http://example.org:80/room/a/add?x=1')).shard).toBe('room/a');
  });
});

describe('method, body and input', () => {
  it('sends the body on as it is, empty where there is none', () => {
    expect(Buffer.from(accepted(post('/room/a/add', {}, '{not json')).input).toString()).toBe('{not json');
    expect(accepted(post('/room/a/add')).input.byteLength).toBe(0);
  });

  it('takes the input of a GET from the query', () => {
    const get = (query: string): ParseInput => ({ ...post(`/room/a/list${query}`), method: 'GET' });
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        for (const query of [
          encodeURIComponent(text),
          new URLSearchParams({ i: text }).toString().slice(2),
        ]) {
          const request = accepted(get(`?other=1&input=${query}&input2=x`));
          expect(Buffer.from(request.input).toString()).toBe(Buffer.from(text).toString());
          expect(request.method).toBe('get');
        }
      }),
    );
    expect(accepted(get('')).input.byteLength).toBe(0);
    expect(refused(get('?input=1&input=2')).code).toBe('input-invalid');
    expect(refused(get('?input=%')).code).toBe('input-invalid');
  });

  it('refuses other methods, saying which there are', () => {
    const result = parse({ ...post('/room/a/add'), method: 'DELETE' });
    expect(result).toMatchObject({ ok: false, allow: 'GET, POST, OPTIONS', reply: { status: 405 } });
  });

  it.each([
    ['application/json', true],
    ['application/json; charset=UTF-8', true],
    ['Application/JSON;charset="utf-8"', true],
    ['application/merge-patch+json', true],
    ['text/html', false],
    ['application/json; charset=latin1', false],
    ['', false],
  ])('content type %j: %s', (type, ok) => {
    expect(parse(post('/room/a/add', { 'content-type': type }, '1')).ok).toBe(ok);
  });

  it('takes what curl sends by itself, unless a browser sent it: then it may be the form of another site', () => {
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(parse(post('/room/a/add', form, '1')).ok).toBe(true);
    expect(parse(post('/room/a/add', { 'content-type': 'text/plain;charset=UTF-8' }, '1')).ok).toBe(true);
    expect(parse({ ...post('/room/a/add'), body: Buffer.from('1') }).ok).toBe(true);
    for (const mark of ['origin', 'referer', 'sec-fetch-site', 'cookie']) {
      expect(refused(post('/room/a/add', { ...form, [mark]: 'x' }, '1')).code).toBe(
        'content-type-unsupported',
      );
      expect(
        refused({ ...post('/room/a/add'), headers: { [mark]: 'x' }, body: Buffer.from('1') }).status,
      ).toBe(415);
    }
  });

  it('refuses a compressed body', () => {
    expect(refused(post('/room/a/add', { 'content-encoding': 'gzip' }, '1')).status).toBe(415);
  });
});

describe('headers', () => {
  it('takes an idempotency key quoted or bare, and refuses what is neither', () => {
    expect(parseIdempotencyKey('"a b,\\"c\\\\"')).toBe('a b,"c\\');
    expect(parseIdempotencyKey(' 7f3e-key:1/2=+@ ')).toBe('7f3e-key:1/2=+@');
    for (const bad of [
      '',
      '""',
      'a b',
      'a,b',
      'a"b',
      '"a',
      'a;b',
      'é',
      '"é"',
      'x'.repeat(256),
      `"${'x'.repeat(256)}"`,
    ])
      expect(parseIdempotencyKey(bad), bad).toBeUndefined();
    expect(parseIdempotencyKey('x'.repeat(255))).toHaveLength(255);
    fc.assert(
      fc.property(
        fc.string({
          minLength: 1,
          maxLength: 255,
          unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
        }),
        (key) => {
          expect(parseIdempotencyKey(`"${key.replace(/["\\]/g, '\\$&')}"`)).toBe(key);
        },
      ),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        parseIdempotencyKey(text);
      }),
    );
  });

  it('carries key, age and least seq, and refuses malformed ones', () => {
    const request = accepted(
      post('/room/a/add', {
        'idempotency-key': '"k"',
        'idempotency-key-age': '1500',
        'skein-min-seq': '9',
        'skein-max-staleness': '300',
      }),
    );
    expect(request).toMatchObject({
      idempotency: { kind: 'client', key: 'k' },
      idempotencyAgeMs: 1500,
      minSeq: 9,
      staleMsMax: 300,
      hops: 0,
    });
    for (const headers of [
      { 'idempotency-key': 'a b' },
      { 'idempotency-key': 'a', 'idempotency-key-age': '-1' },
      { 'skein-min-seq': '1e3' },
      { 'skein-max-staleness': '-1' },
      { 'skein-max-staleness': '0.5' },
      { 'skein-min-seq': '9'.repeat(16) },
    ])
      expect(refused(post('/room/a/add', headers)).code).toBe('header-invalid');
  });

  it('believes an origin and forwarded addresses only from listed proxies', () => {
    const headers = {
      'skein-origin': 'ap-northeast-1',
      'x-forwarded-for': '203.0.113.9, 198.51.100.4, 10.0.0.2',
    };
    const stranger = accepted(post('/room/a/add', headers));
    expect(stranger.origin).toBe('eu-west-1');
    expect(stranger.userHash).toBe(hash32('192.0.2.7'));
    const proxied = accepted({ ...post('/room/a/add', headers), remoteAddress: '10.0.0.1' });
    expect(proxied.origin).toBe('ap-northeast-1');
    expect(proxied.userHash).toBe(hash32('198.51.100.4'));
    const nonsense = {
      ...post('/room/a/add', { 'skein-origin': 'x'.repeat(50) }),
      remoteAddress: '10.0.0.1',
    };
    expect(accepted(nonsense).origin).toBe('eu-west-1');
  });

  it('takes the user from header, else cookie, else address', () => {
    const cookie = 'a=1; skein-user=carol; b=2';
    const hash = (headers: ParseInput['headers']) => accepted(post('/room/a/add', headers)).userHash;
    expect(hash({ 'skein-user': 'ann', cookie })).toBe(hash32('ann'));
    expect(hash({ cookie })).toBe(hash32('carol'));
    expect(hash({ cookie: 'skein-user=' })).toBe(hash32('192.0.2.7'));
  });

  it('passes headers on only to services that decide on them, without those of the connection', () => {
    const headers = { authorization: 'Bearer x', connection: 'close', 'x-many': ['a', 'b'] };
    expect(accepted(post('/room/a/add', headers)).headers).toBeUndefined();
    const request = accepted(post('/guarded/a/add', headers));
    expect({ ...request.headers }).toEqual({ authorization: 'Bearer x', 'x-many': 'a, b' });
  });
});
