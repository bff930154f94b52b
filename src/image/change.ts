/** `import --change`: one line of a Dockerfile applied to an image's configuration. Pure. Source: Dockerfile reference. */
import { ContainerError } from '../core/kernel/error.ts';
import type { ImageConfig } from './config.ts';

type Instruction = (config: ImageConfig, rest: string) => void;

const instructions: Record<string, Instruction> = {
  CMD: (config, rest) => {
    config.Cmd = readCommand(rest);
  },
  ENTRYPOINT: (config, rest) => {
    config.Entrypoint = readCommand(rest);
  },
  ENV: (config, rest) => {
    for (const [key, value] of readPairs(rest))
      config.Env = [...(config.Env ?? []).filter((old) => !old.startsWith(`${key}=`)), `${key}=${value}`];
  },
  WORKDIR: (config, rest) => {
    if (!rest.startsWith('/')) throw new Error('the directory must begin with /');
    config.WorkingDir = rest;
  },
  USER: (config, rest) => {
    config.User = rest;
  },
  STOPSIGNAL: (config, rest) => {
    config.StopSignal = rest;
  },
  EXPOSE: (config, rest) => {
    for (const port of rest.split(/\s+/)) {
      if (!/^[0-9]{1,5}(-[0-9]{1,5})?(\/(tcp|udp|sctp))?$/.test(port))
        throw new Error('a port is written 80 or 80/tcp');
      config.ExposedPorts = { ...config.ExposedPorts, [port.includes('/') ? port : `${port}/tcp`]: {} };
    }
  },
};

/** Returns the configuration with all changes. Throws ContainerError that names the line and what is allowed. */
export function applyChanges(config: ImageConfig, changes: readonly string[]): ImageConfig {
  const changed = structuredClone(config);
  for (const line of changes) {
    const [, word = '', rest = ''] = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(line) ?? [];
    const instruction = instructions[word.toUpperCase()];
    const wrong = (why: string) => new ContainerError(`--change ${JSON.stringify(line)}: ${why}`);
    if (instruction === undefined) throw wrong(`only ${Object.keys(instructions).join(', ')} can be changed`);
    if (rest === '') throw wrong(`${word} needs a value`);
    try {
      instruction(changed, rest);
    } catch (error) {
      throw wrong((error as Error).message);
    }
  }
  return changed;
}

/** A JSON list is the command itself; anything else is given to the shell. */
function readCommand(rest: string): string[] {
  if (!rest.startsWith('[')) return ['/bin/sh', '-c', rest];
  let list: unknown;
  try {
    list = JSON.parse(rest);
  } catch {
    throw new Error('what begins with [ must be a JSON list, like ["/bin/sh", "-l"]');
  }
  if (!Array.isArray(list) || !list.every((item) => typeof item === 'string'))
    throw new Error('the list must hold strings only');
  return list;
}

/** `A=1 B="two words"`, or the old form `A one value`. */
function readPairs(rest: string): [string, string][] {
  const old = /^([^\s=]+)\s+([\s\S]+)$/.exec(rest);
  if (old) return [[old[1]!, old[2]!]];
  const pairs: [string, string][] = [];
  const pattern = /\s*([^\s="']+)=((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])*)(?=\s|$)/y;
  while (pattern.lastIndex < rest.length) {
    const match = pattern.exec(rest);
    if (match === null) throw new Error('write NAME=value, with quotes around a value that has blanks');
    pairs.push([match[1]!, unquote(match[2]!)]);
  }
  return pairs;
}

function unquote(text: string): string {
  return text.replace(/'([^']*)'|\\(.)|"((?:\\.|[^"\\])*)"/g, (_, single, escaped, double) => {
    if (single !== undefined) return single;
    return escaped ?? double.replace(/\\(["\\$])/g, '$1');
  });
}
