/**
 * Lines of a file or of standard input, gzip or plain, one at a time: files of gigabytes pass through in the memory of
 * their longest line.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable, type Writable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { LINE_CHARS_MAX } from '../forecast/series-record.ts';
import { CliError } from './errors.ts';
import { cannotWrite } from './files.ts';

/** How much was read, for progress. */
export interface LineSource {
  lines: AsyncGenerator<{ number: number; text: string }>;
  /** Bytes of the file; undefined for standard input. */
  bytes: number | undefined;
  bytesRead: () => number;
}

/** @param path `-` is standard input */
export async function readLines(path: string): Promise<LineSource> {
  let read = 0;
  let bytes: number | undefined;
  let input: Readable = process.stdin;
  if (path !== '-') {
    const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
      throw new CliError(
        `cannot read ${path}: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}`,
        {
          next: 'give --input a file of JSON Lines, plain or gzip, or - for standard input',
        },
      );
    });
    bytes = found.size;
    input = createReadStream(path, { highWaterMark: 1 << 20 });
  }
  return { lines: lines(input, (count) => (read += count)), bytes, bytesRead: () => read };
}

/** What went wrong while a file was read, and what to do about it. */
export function readFailure(path: string, error: Error): CliError {
  return new CliError(`reading ${path === '-' ? 'standard input' : path} failed: ${error.message}`, {
    next: NEXT_OF_READING[(error as NodeJS.ErrnoException).code ?? ''],
    cause: error,
  });
}

const NEXT_OF_READING: Record<string, string> = {
  EISDIR: 'it is a directory: give a file in it',
  Z_BUF_ERROR: 'a gzip file that ends early was cut off while it was copied: copy it again',
  Z_DATA_ERROR: 'the gzip file is damaged from there on: copy or pack it again',
};

/** Ready to be written to line by line, waiting where the reader is slow. @throws CliError where it could not be written */
export function lineWriter(path: string): {
  write: (line: string) => Promise<void>;
  end: () => Promise<void>;
} {
  const stream: Writable = path === '-' ? process.stdout : createWriteStream(path);
  let failed: Error | undefined;
  let wake = () => {};
  const woken = () => new Promise<void>((resolve) => (wake = resolve));
  stream.on('drain', () => wake());
  // A full disk never drains: whoever waits is told of it.
  stream.on('error', (error: Error) => {
    failed = cannotWrite(path, error);
    wake();
  });
  return {
    async write(line) {
      if (failed) throw failed;
      if (!stream.write(`${line}\n`)) await woken();
      if (failed) throw failed;
    },
    async end() {
      if (failed) throw failed;
      // The callback comes before the event of its error.
      if (path !== '-')
        await new Promise<void>((resolve, reject) =>
          stream.end((error?: Error | null) =>
            error ? reject(failed ?? cannotWrite(path, error)) : resolve(),
          ),
        );
      if (failed) throw failed;
    },
  };
}

async function* lines(
  input: Readable,
  count: (bytes: number) => void,
): AsyncGenerator<{ number: number; text: string }> {
  const plain = await maybeUnzipped(input, count);
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let held = 0;
  let number = 0;
  for await (const chunk of plain as AsyncIterable<Buffer>) {
    const text = decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      parts.push(text.slice(from, end));
      yield { number: ++number, text: parts.join('') };
      parts = [];
      held = 0;
      from = end + 1;
    }
    // What is too long is cut just above the limit: whoever parses it says so.
    if (held <= LINE_CHARS_MAX) {
      parts.push(text.slice(from));
      held += text.length - from;
    }
  }
  parts.push(decoder.decode());
  const rest = parts.join('');
  if (rest.trim() !== '') yield { number: ++number, text: rest };
}

/** gzip is told by its first two bytes, so that a pipe works as a file does. */
async function maybeUnzipped(input: Readable, count: (bytes: number) => void): Promise<Readable> {
  const source = input[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first: Buffer[] = [];
  let length = 0;
  while (length < 2) {
    const { value, done } = await source.next();
    if (done) break;
    first.push(value);
    length += value.length;
  }
  const head = Buffer.concat(first);
  const whole = Readable.from(rejoined());
  if (head[0] !== 0x1f || head[1] !== 0x8b) return whole;
  const unzip = createGunzip();
  whole.on('error', (error) => unzip.destroy(error));
  return whole.pipe(unzip);

  async function* rejoined(): AsyncGenerator<Buffer> {
    count(head.length);
    yield head;
    for (;;) {
      const { value, done } = await source.next();
      if (done) return;
      count(value.length);
      yield value;
    }
  }
}
