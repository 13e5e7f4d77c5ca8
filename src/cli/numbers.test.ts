/** Test plan: each option of each command that reads its argument is given one it cannot take. */
import { type Command, CommanderError, InvalidArgumentError } from 'commander';
import { expect, it } from 'vitest';
import { addDevCommand } from './dev.ts';
import { number, positive, wholeNumber } from './numbers.ts';
import { makeProgram } from './program.ts';

function withAll(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withAll)];
}

it('an option that cannot take its argument is named, whichever it is', async () => {
  const refused = withAll(makeProgram(addDevCommand)).flatMap((command) =>
    command.options
      .filter(({ parseArg }) => parseArg !== undefined)
      .map((option) => {
        // What it says is commander's only while the reader throws what commander knows.
        expect(() => option.parseArg!('?', undefined), `${command.name()} ${option.flags}`).toThrow(
          InvalidArgumentError,
        );
        return `${command.name()} ${option.long}`;
      }),
  );
  expect(refused).toEqual(expect.arrayContaining(['backtest --threads', 'node --cpu', 'dev --nodes']));
});

it('says which option was wrong, what was written and what may be', async () => {
  let said = '';
  const program = makeProgram(addDevCommand);
  for (const command of withAll(program)) {
    command.exitOverride();
    command.configureOutput({
      writeErr: (text) => {
        said += text;
      },
    });
  }
  await expect(program.parseAsync(['node', 'skein', 'backtest', '--threads', '0'])).rejects.toThrow(
    CommanderError,
  );
  expect(said).toContain("'--threads <count>' argument '0' is invalid. Write a whole number from 1 to 256.");
});

it('takes numbers within their bounds, and nothing written for none', () => {
  expect(wholeNumber(0, 5)('5')).toBe(5);
  expect(number(0, 1)('0.25')).toBe(0.25);
  expect(positive('1e3')).toBe(1000);
  for (const text of ['6', '-1', '1.5', '', ' ', 'x'])
    expect(() => wholeNumber(0, 5)(text)).toThrow(/from 0 to 5/);
  for (const text of ['1.1', '', 'NaN']) expect(() => number(0, 1)(text)).toThrow(/from 0 to 1/);
  for (const text of ['0', '', 'Infinity']) expect(() => positive(text)).toThrow(/above 0/);
});
