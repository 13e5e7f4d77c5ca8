/** Files that a command reads and writes: what would go wrong at the end is found at the beginning. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CliError, EXIT } from './errors.ts';

/**
 * Refuses an output that could not be written, before the work is done, and one that is the input: opening it would empty
 * what is still to be read.
 *
 * @param inputs paths that are read; `-` is standard input or output
 */
export async function checkOutput(output: string, inputs: readonly string[] = []): Promise<void> {
  if (output === '-') return;
  const found = await stat(output).catch(() => undefined);
  if (found?.isDirectory())
    throw cannotWrite(output, new Error('it is a directory'), 'give the name of a file in it');
  for (const input of inputs) {
    const other = input === '-' ? undefined : await stat(input).catch(() => undefined);
    if (found?.isFile() && other?.dev === found.dev && other.ino === found.ino)
      throw new CliError(`${output} is the input as well, and would be lost`, {
        next: 'write to another file',
        exitCode: EXIT.usage,
      });
  }
  try {
    await access(found ? output : dirname(resolve(output)), constants.W_OK);
  } catch (error) {
    throw cannotWrite(output, error as Error);
  }
}

export function cannotWrite(
  output: string,
  cause: Error,
  next = 'give a file in a directory that exists, with room, where you may write',
): CliError {
  return new CliError(`cannot write ${output === '-' ? 'standard output' : output}`, {
    why: cause.message,
    next,
    cause,
  });
}
