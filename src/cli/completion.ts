/** `skein completion bash|zsh|fish`: scripts made from the commands themselves, so they cannot fall behind them. */
import type { Command } from 'commander';
import { CliError, EXIT } from './errors.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;

interface Entry {
  /** Words that lead here, without `skein`. */
  path: string[];
  words: { word: string; description: string }[];
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

function walk(command: Command, path: string[]): Entry[] {
  const words = [
    ...command.commands.map((sub) => ({ word: sub.name(), description: sub.description() })),
    ...command.options
      .filter((option) => !option.hidden)
      .map((option) => ({ word: option.long ?? option.short ?? '', description: option.description })),
    { word: '--help', description: 'show help' },
  ];
  if (path[0] === 'completion') words.push(...SHELLS.map((word) => ({ word, description: '' })));
  return [{ path, words }, ...command.commands.flatMap((sub) => walk(sub, [...path, sub.name()]))];
}

function bash(entries: Entry[]): string {
  const cases = entries
    .map(
      ({ path, words }) => `    '${path.join(' ')}') words='${words.map(({ word }) => word).join(' ')}' ;;`,
    )
    .join('\n');
  return `# skein completion: put it where your shell looks for completions, or \`source <(skein completion bash)\`.
_skein() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path='' words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      -*) ;;
      *) case "$path \${COMP_WORDS[i]}" in
${entries
  .filter(({ path }) => path.length > 0)
  .map(({ path }) => `        ' ${path.join(' ')}'|'${path.join(' ')}') path='${path.join(' ')}' ;;`)
  .join('\n')}
      esac ;;
    esac
  done
  case "$path" in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _skein skein
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
    return words.map(({ word, description }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`;
      return `complete -c skein -f -n '${condition}' ${what} -d '${description.replace(/['\\]/g, '')}'`;
    });
  });
  return `# skein completion: skein completion fish > ~/.config/fish/completions/skein.fish\n${lines.join('\n')}\n`;
}
