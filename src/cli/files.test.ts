/** What cannot be written is said before the work is done, and what was not written never passes as written. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkOutput } from './files.ts';
import { lineWriter } from './series-lines.ts';

let folder = '';
const at = (name: string) => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'skein-files-'));
  writeFileSync(at('input'), 'precious');
  symlinkSync(at('input'), at('link'));
  mkdirSync(at('directory'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('an output', () => {
  it.each([
    ['is the input', 'input', 2, /is the input as well, and would be lost/],
    ['is the input by another name', 'link', 2, /is the input as well/],
    ['is a directory', 'directory', 1, /cannot write .*directory/],
    ['is in no directory', 'nowhere/file', 1, /cannot write .*nowhere/],
  ])('that %s is refused', async (_text, name, exitCode, reason) => {
    await expect(checkOutput(at(name), [at('input'), '-'])).rejects.toMatchObject({
      exitCode,
      message: expect.stringMatching(reason),
      next: expect.stringMatching(/./),
    });
    expect(readFileSync(at('input'), 'utf8')).toBe('precious');
  });

  it('that can be written is left as it is until then', async () => {
    await checkOutput(at('new'), [at('input')]);
    await checkOutput('-', ['-']);
    expect(existsSync(at('new'))).toBe(false);
  });
});

// A device that is full as soon as it is written to.
describe.skipIf(!existsSync('/dev/full'))('a full disk', () => {
  it('ends the writing with an error, while it waits and at the end', async () => {
    const long = lineWriter('/dev/full');
    await expect(long.write('x'.repeat(1 << 20)).then(() => long.write('y'))).rejects.toThrow('cannot write');
    const short = lineWriter('/dev/full');
    await short.write('x');
    await expect(short.end()).rejects.toMatchObject({ why: expect.stringContaining('ENOSPC') });
  });

  it('leaves what fits', async () => {
    const writer = lineWriter(at('lines'));
    for (const line of ['a', 'b']) await writer.write(line);
    await writer.end();
    expect(readFileSync(at('lines'), 'utf8')).toBe('a\nb\n');
  });
});
