/** `skein completion bash|zsh|fish`: scripts made from the commands themselves, so they cannot fall behind them. */
import type { Command, Option } from 'commander';
import { CliError, EXIT } from './errors.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;

interface Word {
  word: string;
  description: string;
  /** An option that is followed by a value; these are what it may be, none: anything, such as a file. */
  values?: readonly string[];
}

interface Entry {
  /** Words that lead here, without `skein`. */
  path: string[];
  words: Word[];
}

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .argument('<shell>', SHELLS.join(', '))
    .description('print a completion script for a shell')
    .action((shell: string) => {
      const script = completionScript(program, shell);
      if (script === undefined)
        throw new CliError(`there is no completion for ${shell}`, {
          next: `choose one of ${SHELLS.join(', ')}`,
          exitCode: EXIT.usage,
        });
      process.stdout.write(script);
    });
}

export function completionScript(program: Command, shell: string): string | undefined {
  const entries = walk(program, []);
  if (shell === 'bash') return bash(entries);
  // zsh runs bash completions once it is told to.
  if (shell === 'zsh') return `#compdef skein\nautoload -U +X bashcompinit && bashcompinit\n${bash(entries)}`;
  if (shell === 'fish') return fish(entries);
  return undefined;
}

function walk(command: Command, path: string[], inherited: Word[] = []): Entry[] {
  const options = [...command.options.filter((option) => !option.hidden).map(wordOf), ...inherited];
  const words = [
    ...command.commands.map((sub) => ({ word: sub.name(), description: sub.description() })),
    ...options,
    { word: '--help', description: 'show help' },
  ];
  if (path[0] === 'completion') words.push(...SHELLS.map((word) => ({ word, description: '' })));
  // Options of the root may be written anywhere; its version is asked of it alone.
  const below = options.filter(({ word }) => word !== '--version');
  return [{ path, words }, ...command.commands.flatMap((sub) => walk(sub, [...path, sub.name()], below))];
}

function wordOf(option: Option): Word {
  return {
    word: option.long ?? option.short ?? '',
    description: option.description,
    ...((option.required || option.optional) && { values: option.argChoices ?? [] }),
  };
}

function bash(entries: Entry[]): string {
  const name = (path: string[]) => path.join(' ');
  const cases = entries
    .map(({ path, words }) => `    '${name(path)}') words='${words.map(({ word }) => word).join(' ')}' ;;`)
    .join('\n');
  const valued = entries
    .flatMap(({ path, words }) =>
      words
        .filter(({ values }) => values !== undefined)
        .map(({ word, values }) => `    '${name(path)}:${word}') values='${values!.join(' ')}' ;;`),
    )
    .join('\n');
  return `# skein completion: put it where your shell looks for completions, or \`source <(skein completion bash)\`.
# What the value of an option may be; fails for an option without one. Without words of ours files are completed.
_skein_values() {
  case "$1" in
${valued}
    *) return 1 ;;
  esac
}
_skein() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path='' words='' values='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      -*)
        _skein_values "$path:\${COMP_WORDS[i]}" || continue
        if ((++i == COMP_CWORD)); then
          COMPREPLY=($(compgen -W "$values" -- "$current"))
          return
        fi ;;
      *) case "$path \${COMP_WORDS[i]}" in
${entries
  .filter(({ path }) => path.length > 0)
  .map(({ path }) => `        ' ${name(path)}'|'${name(path)}') path='${name(path)}' ;;`)
  .join('\n')}
      esac ;;
    esac
  done
  case "$path" in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _skein skein
`;
}

function fish(entries: Entry[]): string {
  const lines = entries.flatMap(({ path, words }) => {
    const subcommands = entries
      .filter(
        (entry) => entry.path.length === path.length + 1 && path.every((word, i) => entry.path[i] === word),
      )
      .map((entry) => entry.path.at(-1)!);
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`);
    const unseen = subcommands.length > 0 ? [`not __fish_seen_subcommand_from ${subcommands.join(' ')}`] : [];
    const condition = [...seen, ...unseen].join('; and ') || 'true';
    return words.map(({ word, description, values }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`;
      // -f: no file; -r -F: a file; -x: one of these and no file. fish takes -f and -F for a mistake.
      const value = values === undefined ? '-f' : values.length > 0 ? `-x -a '${values.join(' ')}'` : '-r -F';
      return `complete -c skein -n '${condition}' ${what} ${value} -d '${description.replace(/['\\]/g, '')}'`;
    });
  });
  return `# skein completion: skein completion fish > ~/.config/fish/completions/skein.fish\n${lines.join('\n')}\n`;
}
