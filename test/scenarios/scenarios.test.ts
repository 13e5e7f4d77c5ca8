import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runScript } from './runner.ts';

const folder = new URL('./', import.meta.url);

describe('placement scenarios', () => {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt')))
    it(file, () => {
      const url = new URL(file, folder);
      const before = readFileSync(url, 'utf8');
      const after = runScript(before);
      if (process.env.SKEIN_UPDATE_SCENARIOS === '1') writeFileSync(url, after);
      else expect(after).toBe(before);
    });
});
