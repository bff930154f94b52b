/** A state or a record on disk: written by rename, whole or not at all; read with suspicion. Host side. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError } from '../core/kernel/error.ts';

/** What a file has to hold: of an object the fields that must be there, of the optional ones ('string?') their types. */
export type Shape = Type | `${Type}?` | { readonly [field: string]: Shape };
type Type = 'string' | 'number' | 'boolean' | 'object' | 'array';

/** The file can't be what tinyctr wrote. `message` names it and says what is wrong. */
export class DamagedFile extends Error {}

/** @throws DamagedFile, NodeJS.ErrnoException ENOENT */
export function readJson<T>(file: string, shape: Shape): T {
  const name = basename(file);
  let value: unknown;
  try {
    value = JSON.parse(read(file, name));
  } catch (error) {
    if (error instanceof SyntaxError) throw new DamagedFile(`${name} is no JSON: ${error.message}`);
    throw error;
  }
  const fault = lacks(value, shape, '');
  if (fault !== undefined) throw new DamagedFile(`${name}: ${fault}`);
  return value as T;
}

function read(file: string, name: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'ENOENT') throw error;
    throw new DamagedFile(`${name} can't be read (${code})`);
  }
  if (text.trim() === '') throw new DamagedFile(`${name} is empty`);
  return text;
}

/** What of a shape a value has not; undefined if it has all. */
export function lacks(value: unknown, shape: Shape, at: string): string | undefined {
  const where = at === '' ? 'it' : at;
  if (typeof shape === 'object') {
    if (typeOf(value) !== 'object') return `${where} is ${inWords(value)}, not an object`;
    const fields = value as Record<string, unknown>;
    for (const [field, inner] of Object.entries(shape)) {
      const fault = lacks(fields[field], inner, at === '' ? field : `${at}.${field}`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  if (shape.endsWith('?') && (value === undefined || value === null)) return undefined;
  const wanted = shape.replace('?', '');
  return typeOf(value) === wanted ? undefined : `${where} is ${inWords(value)}, not of type ${wanted}`;
}

const typeOf = (value: unknown): string => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value);

const inWords = (value: unknown): string => (value === undefined ? 'missing' : `of type ${typeOf(value)}`);

/** Under another name first: a reader sees the old or the new one. A full disk leaves the old one, and nothing else. @throws ContainerError */
export function writeJson(file: string, value: unknown, indent?: number): void {
  const young = `${file}.new`;
  try {
    writeFileSync(young, `${JSON.stringify(value, null, indent)}\n`, { mode: 0o600 });
    renameSync(young, file);
  } catch (error) {
    rmSync(young, { force: true });
    const { errno = 0 } = error as NodeJS.ErrnoException;
    throw new ContainerError(`${file} can't be written: ${errnoText(-errno)}`, { cause: error });
  }
}
