import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realIo } from '../../io/real.ts';
import { Checkpointer } from './checkpointer.ts';
import { openDatabase } from './database.ts';

const PAGE_BYTES = 4096;
/** Below the length at which SQLite would checkpoint by itself. */
const ROUNDS_MAX = 500;
const PAGES_A_ROUND = 100;

describe('a checkpointing thread', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'skein-checkpointer-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('lets the log of a busy writer start again, and loses nothing', async () => {
    const path = join(directory, 'cell.sqlite');
    const database = openDatabase(path);
    const checkpointer = new Checkpointer(path, database, realIo({ logLevel: 'error' }).log);
    database.exec('CREATE TABLE blobs (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)');
    const insert = database.prepare('INSERT INTO blobs (bytes) VALUES (zeroblob(?))');
    const logBytes = () => statSync(`${path}-wal`).size;

    let rounds = 0;
    let before = -1;
    // Every commit makes the log longer, until one writes at its beginning again.
    while (logBytes() > before && rounds < ROUNDS_MAX) {
      before = logBytes();
      database.exec('BEGIN IMMEDIATE');
      for (let page = 0; page < PAGES_A_ROUND; page++) insert.run(PAGE_BYTES);
      database.exec('COMMIT');
      rounds++;
      await pause(5);
    }
    expect(rounds).toBeLessThan(ROUNDS_MAX);
    await checkpointer.close();
    database.close();

    const again = openDatabase(path);
    expect(again.prepare('SELECT count(*) AS count FROM blobs').get()).toEqual({
      count: rounds * PAGES_A_ROUND,
    });
    expect(again.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
    again.close();
  });

  it('leaves a file to its one owner', () => {
    const path = join(directory, 'cell.sqlite');
    const database = openDatabase(path);
    expect(() => openDatabase(path)).toThrow(/another store process/);
    database.close();
    openDatabase(path).close();
  });
});
