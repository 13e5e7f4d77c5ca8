/** How the command line fails: what happened, why, and what to type next; and with which exit status. */
import type { ErrorCode } from '../model/errors.ts';
import { ERRORS, isErrorCode, type ProblemDocument } from '../model/errors.ts';

/** 0 done, 1 it failed, 2 the command line was wrong. Documented in docs/cli.md. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

export class CliError extends Error {
  override readonly name = 'CliError';
  readonly why: string | undefined;
  readonly next: string | undefined;
  readonly exitCode: number;
  /** The documented code, where a service answered with one. */
  readonly code: string | undefined;

  constructor(
    message: string,
    options: { why?: string; next?: string; exitCode?: number; code?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.why = options.why;
    this.next = options.next;
    this.code = options.code;
    this.exitCode = options.exitCode ?? EXIT.failed;
  }
}

/** An error the admin API answered with. */
export function errorOfProblem(problem: ProblemDocument): CliError {
  const remedy = isErrorCode(problem.code) ? ERRORS[problem.code as ErrorCode].remedy : undefined;
  return new CliError(problem.detail, {
    why: `${problem.code} (${problem.status}): ${problem.title}`,
    next: remedy,
    code: problem.code,
  });
}

export function formatError(error: unknown): string {
  if (!(error instanceof CliError)) {
    const message = error instanceof Error ? error.message : String(error);
    return `skein: ${message}\n`;
  }
  const lines = [`skein: ${error.message}`];
  if (error.why) lines.push(`  why:  ${error.why}`);
  if (error.next) lines.push(`  next: ${error.next}`);
  return `${lines.join('\n')}\n`;
}
