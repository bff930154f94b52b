/** The environment of the container's process: defaults, image, --env-file, -e; later ones win. Pure. */

import type { ImageConfig } from '../image/config.ts';
import { cut } from './identity.ts';
import type { HostReaders, RunOptions } from './options.ts';
import { type Problems, UsageError } from './usage-error.ts';

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** A variable and its value; undefined takes the variable away, as docker's `-e NAME` does when the host has none. */
type Setting = [name: string, value: string | undefined];

/** Reads one -e: `NAME=value`, or `NAME` for the host's value. @throws UsageError without a name */
function parseEnv(text: string, hostEnv: NodeJS.ProcessEnv): Setting {
  const [name, value] = cut(text, '=');
  if (name === '') throw new UsageError(`--env '${text}' has no name: give NAME=value, or NAME for the host's value`);
  return [name, value ?? hostEnv[name]];
}

function parseEnvFileLine(line: string, place: string, hostEnv: NodeJS.ProcessEnv): Setting[] {
  const text = line.trimStart();
  if (text === '' || text.startsWith('#')) return [];
  const [name, value] = cut(text, '=');
  if (name === '') throw new UsageError(`${place} has no name: each line is NAME=value, NAME or a # comment`);
  if (/\s/.test(name)) throw new UsageError(`${place}: the name '${name}' has a space in it`);
  if (text.includes('\0')) throw new UsageError(`${place}: ${name} has a NUL byte in it`);
  const found = value ?? hostEnv[name];
  return found === undefined ? [] : [[name, found]];
}

/**
 * Reads a file of `NAME=value` lines, docker's format: the value is everything after the first `=`, quotes and trailing
 * spaces included; a bare `NAME` has the host's value and is left out when the host has none.
 * @throws UsageError when the file can't be read, is not UTF-8, or has a line of another form
 */
export function parseEnvFile(path: string, host: HostReaders): Setting[] {
  const lines = readText('--env-file', path, host).split(/\r?\n/);
  return lines.flatMap((line, index) => parseEnvFileLine(line, `--env-file ${path}:${index + 1}`, host.env));
}

/** The text of a file named on the command line. @throws UsageError when it can't be read or is not UTF-8 */
export function readText(option: string, path: string, host: HostReaders): string {
  let bytes: Uint8Array;
  try {
    bytes = host.readFile(host.resolve(path));
  } catch (error) {
    throw new UsageError(`${option} ${path} can't be read: ${error instanceof Error ? error.message : error}`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${option} ${path} is not UTF-8 text`);
  }
}

function imageSetting(entry: string): Setting[] {
  const [name, value] = cut(entry, '=');
  if (entry.includes('\0')) throw new UsageError(`the image's variable ${JSON.stringify(entry)} has a NUL byte in it`);
  return name === '' || value === undefined ? [] : [[name, value]];
}

export interface EnvironmentInput {
  options: Pick<RunOptions, 'env' | 'envFile'>;
  image: ImageConfig;
  host: HostReaders;
  hostname: string;
  terminal: boolean;
}

/** `NAME=value` strings, each name once. HOME is left to the caller, who has the container's passwd file. */
export function environment(input: EnvironmentInput, problems: Problems): string[] {
  const { options, image, host } = input;
  const settings: Setting[] = [
    ['PATH', defaultPath],
    ['HOSTNAME', input.hostname],
    ...(input.terminal ? ([['TERM', 'xterm']] satisfies Setting[]) : []),
    ...problems.each(image.Env ?? [], imageSetting).flat(),
    ...problems.each(options.envFile, (path) => parseEnvFile(path, host)).flat(),
    ...problems.each(options.env, (text) => parseEnv(text, host.env)),
  ];
  const variables = new Map<string, string>();
  for (const [name, value] of settings) {
    if (value === undefined) variables.delete(name);
    else variables.set(name, value);
  }
  return [...variables].map(([name, value]) => `${name}=${value}`);
}
