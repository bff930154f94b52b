/** --tmpfs, and the options that a tmpfs may have. Pure. */
import type { Mount } from '../core/spec/types.ts';
import { checkDestination } from './bind.ts';
import { cut } from './identity.ts';
import { didYouMean } from './nearest.ts';
import { UsageError } from './usage-error.ts';

/** Words of one row undo each other: of those given the last one counts. */
const flagRows: readonly (readonly string[])[] = [
  ['rw', 'ro'],
  ['exec', 'noexec'],
  ['suid', 'nosuid'],
  ['dev', 'nodev'],
  ['sync', 'async'],
  ['atime', 'noatime', 'relatime', 'norelatime', 'strictatime', 'nostrictatime'],
  ['diratime', 'nodiratime'],
];
const flags = flagRows.flat();

/** Options with a value, as tmpfs(5) has them. */
const valued: Record<string, { grammar: RegExp; allowed: string }> = {
  size: { grammar: /^\d+[kmg%]?$/i, allowed: 'a number with k, m, g or %, such as 64m' },
  mode: { grammar: /^[0-7]{1,4}$/, allowed: 'an octal mode such as 1777' },
  uid: { grammar: /^\d{1,10}$/, allowed: 'a decimal id' },
  gid: { grammar: /^\d{1,10}$/, allowed: 'a decimal id' },
  nr_inodes: { grammar: /^\d+[kmg]?$/i, allowed: 'a number, with k, m or g' },
  nr_blocks: { grammar: /^\d+[kmg]?$/i, allowed: 'a number, with k, m or g' },
};

function checkOption(option: string, word: string): string {
  if (flags.includes(word)) return word;
  const [key, value] = cut(word, '=');
  const rule = Object.hasOwn(valued, key) ? valued[key] : undefined;
  if (rule === undefined) {
    const known = [...flags, ...Object.keys(valued).map((name) => `${name}=`)];
    throw new UsageError(`${option}: '${word}' is none of ${known.join(', ')}${didYouMean(word, known)}`);
  }
  if (value !== undefined && rule.grammar.test(value)) return word;
  throw new UsageError(`${option}: '${word}' needs ${rule.allowed} after ${key}=`);
}

/** What two words have in common that can't both be in force: their row, or their key. */
function kind(word: string): string {
  return flagRows.find((row) => row.includes(word))?.[0] ?? cut(word, '=')[0];
}

/** The OCI mount, with docker's defaults nosuid, nodev and noexec unless `words` undo them. */
export function tmpfsMount(destination: string, words: readonly string[]): Mount {
  const all = ['noexec', 'nosuid', 'nodev', ...words];
  const lasting = all.filter((word, index) => !all.slice(index + 1).some((later) => kind(later) === kind(word)));
  return { destination, type: 'tmpfs', source: 'tmpfs', options: [...lasting, 'rprivate'] };
}

/** Reads one --tmpfs, `destination[:options]`. @throws UsageError */
export function parseTmpfs(text: string): Mount {
  const option = `--tmpfs '${text}'`;
  const [destination, words] = cut(text, ':');
  const checked = words === undefined || words === '' ? [] : words.split(',');
  return tmpfsMount(
    checkDestination(option, destination),
    checked.map((word) => checkOption(option, word)),
  );
}
