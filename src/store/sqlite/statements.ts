/**
 * What both engines do with their database alike: prepared statements that give rows as arrays, and one transaction at
 * a time. When it begins and ends is the group commit's to say.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { DATABASE_BYTES_MAX, openDatabase } from './database.ts';

export interface DatabaseOptions {
  /** A file or `:memory:` (the default); or a database that is already open (a simulated restart). */
  path?: string;
  database?: DatabaseSync;
  databaseBytesMax?: number;
}

export class Statements {
  readonly #database: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;

  constructor(options: DatabaseOptions, schema: string) {
    this.#database =
      options.database ??
      openDatabase(options.path ?? ':memory:', options.databaseBytesMax ?? DATABASE_BYTES_MAX);
    this.#database.exec(schema);
    this.#begin = this.prepare('BEGIN IMMEDIATE');
    this.#commit = this.prepare('COMMIT');
  }

  prepare(sql: string): StatementSync {
    const statement = this.#database.prepare(sql);
    statement.setReturnArrays(true);
    return statement;
  }

  begin(): void {
    this.#begin.run();
  }

  commit(): void {
    this.#commit.run();
  }

  /** Never throws. */
  rollback(): void {
    try {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
    } catch {
      // SQLite rolls back by itself after some errors, and a closed database has nothing left to undo.
    }
  }

  close(): void {
    this.#database.close();
  }
}
