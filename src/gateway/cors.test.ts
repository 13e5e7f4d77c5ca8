import { describe, expect, it } from 'vitest';
import { Cors } from './cors.ts';

const added = (cors: Cors, headers: Record<string, string>) => {
  const reply: string[] = [];
  cors.addTo(reply, headers);
  return reply;
};

describe('cors', () => {
  it('says nothing where nothing is configured', () => {
    expect(added(new Cors(undefined), { origin: 'https://a.example' })).toEqual([]);
    expect(new Cors(undefined).preflight({ origin: 'https://a.example' })).toEqual([]);
  });

  it('allows listed origins and tells caches that the answer depends on it', () => {
    const cors = new Cors({ origins: ['https://a.example'], credentials: true, headers: ['authorization'] });
    expect(added(cors, { origin: 'https://a.example' })).toEqual([
      'vary',
      'Origin',
      'access-control-allow-origin',
      'https://a.example',
      'access-control-allow-credentials',
      'true',
      'access-control-expose-headers',
      expect.stringContaining('skein-seq'),
    ]);
    expect(added(cors, { origin: 'https://b.example' })).toEqual(['vary', 'Origin']);
    const preflight = cors.preflight({ origin: 'https://a.example' });
    expect(preflight[preflight.indexOf('access-control-allow-headers') + 1]).toContain('authorization');
    expect(cors.preflight({ origin: 'https://b.example' })).toEqual(['vary', 'Origin']);
  });

  it('refuses what a browser sends for a page that no rule allows', () => {
    const cors = new Cors({ origins: ['https://a.example'] });
    const from = (origin: string) => ({ 'sec-fetch-site': 'cross-site', origin });
    expect(cors.refuses(from('https://b.example'))).toBe(true);
    expect(cors.refuses({ 'sec-fetch-site': 'cross-site' })).toBe(true);
    expect(cors.refuses(from('https://a.example'))).toBe(false);
    expect(cors.refuses({ 'sec-fetch-site': 'same-origin' })).toBe(false);
    expect(cors.refuses({})).toBe(false);
    expect(new Cors({ origins: '*' }).refuses(from('https://b.example'))).toBe(false);
  });

  it('does not combine credentials with every origin', () => {
    expect(() => new Cors({ origins: '*', credentials: true })).toThrow(RangeError);
  });
});
