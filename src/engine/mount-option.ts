/** --mount: comma-separated `key=value` fields, of type volume, bind or tmpfs. Pure. */
import type { Mount } from '../core/spec/types.ts';
import { type Bind, bindMount, checkDestination, propagations, resolveSource } from './bind.ts';
import { cut, parseLabel } from './identity.ts';
import { didYouMean } from './nearest.ts';
import type { HostReaders } from './options.ts';
import { parseSize } from './sizes.ts';
import { tmpfsMount } from './tmpfs.ts';
import { UsageError } from './usage-error.ts';
import { checkVolumeName, type VolumeMount } from './volume-mount.ts';

/** Other spellings of a key. */
const aliases: Record<string, string> = { src: 'source', dst: 'target', destination: 'target', ro: 'readonly' };
const shared = ['type', 'target (or dst, destination)', 'readonly (or ro)'];
const allowedKeys = {
  volume: [...shared, 'source (or src)', 'volume-nocopy', 'volume-label', 'volume-subpath'],
  bind: [...shared, 'source (or src)', 'bind-propagation', 'bind-recursive'],
  tmpfs: [...shared, 'tmpfs-size', 'tmpfs-mode'],
};
type MountType = keyof typeof allowedKeys;
/** Those that may be given more than once have their values one below the other. */
type Fields = Map<string, string>;
const repeatable = ['volume-label'];
/** What stands for `key=true` by itself. */
const switches = ['readonly', 'volume-nocopy'];

const refusedKeys: Record<string, string> = {
  'volume-driver': 'there are no drivers: a volume is a folder below --root',
  'volume-opt': 'options are for drivers, and there are none: a volume is a folder below --root',
};

/**
 * Splits at commas; a field in double quotes may hold commas, and a double quote written twice (RFC 4180).
 * @throws UsageError for a quote in the middle of a field, or one that never ends
 */
function splitFields(option: string, text: string): string[] {
  const fields = [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))(?=,|$)/g)];
  const covered = fields.reduce((length, match) => length + match[0].length, 0);
  if (covered !== text.length) throw new UsageError(`${option}: a double quote stands in the middle or never ends`);
  return fields.map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '');
}

/** The fields by their main key; `readonly` alone is `readonly=true`, and so with volume-nocopy. @throws UsageError for an empty or second one */
function readFields(option: string, text: string): Fields {
  const fields: Fields = new Map();
  for (const field of splitFields(option, text)) {
    const [word, value] = cut(field, '=');
    const key = Object.hasOwn(aliases, word) ? aliases[word]! : word;
    const before = fields.get(key);
    if (before !== undefined && !repeatable.includes(key)) throw new UsageError(`${option}: ${key} is given twice`);
    if (!value && !switches.includes(key)) throw new UsageError(`${option}: the field '${field}' is not key=value`);
    fields.set(key, before === undefined ? (value ?? 'true') : `${before}\n${value}`);
  }
  return fields;
}

function checkKeys(option: string, type: MountType, fields: Fields): void {
  const names = allowedKeys[type].map((text) => text.split(' ')[0]!);
  for (const key of fields.keys()) {
    if (names.includes(key)) continue;
    const reason = type === 'volume' && Object.hasOwn(refusedKeys, key) ? refusedKeys[key] : undefined;
    if (reason) throw new UsageError(`${option}: ${key} is refused: ${reason}`);
    const allowed = allowedKeys[type].join(', ');
    throw new UsageError(
      `${option}: '${key}' is no key of type=${type}, which has ${allowed}${didYouMean(key, names)}`,
    );
  }
}

/** Reads one of a key's allowed values, the first one by default. @throws UsageError */
function choose<T extends string>(option: string, fields: Fields, key: string, allowed: readonly T[]): T {
  const value = fields.get(key) ?? allowed[0]!;
  const found = allowed.find((word) => word === value);
  if (found !== undefined) return found;
  throw new UsageError(`${option}: ${key} '${value}' is none of ${allowed.join(', ')}`);
}

function required(option: string, fields: Fields, key: string): string {
  const value = fields.get(key);
  if (value !== undefined) return value;
  throw new UsageError(`${option} has no ${key}: a mount of type ${fields.get('type') ?? 'volume'} needs it`);
}

function isOn(option: string, fields: Fields, key: string): boolean {
  const value = choose(option, fields, key, ['false', 'true', '0', '1']);
  return value === 'true' || value === '1';
}

function parseVolumeFields(option: string, fields: Fields, host: HostReaders): VolumeMount {
  const source = fields.get('source');
  const labels = Object.fromEntries((fields.get('volume-label')?.split('\n') ?? []).map(parseLabel));
  const subpath = fields.get('volume-subpath');
  if (source?.includes('/'))
    throw new UsageError(`${option}: '${source}' is a path, and type=volume wants a name: give type=bind for a path`);
  return {
    ...(source === undefined
      ? { volume: host.volumeName(), anonymous: true }
      : { volume: checkVolumeName(option, source) }),
    destination: checkDestination(option, required(option, fields, 'target')),
    readonly: isOn(option, fields, 'readonly'),
    copy: !isOn(option, fields, 'volume-nocopy'),
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(subpath === undefined ? {} : { subpath: checkSubpath(option, subpath) }),
    mode: 'z',
  };
}

/** @throws UsageError for what does not lie below the volume; links on the way are followed by the kernel, inside of it */
function checkSubpath(option: string, text: string): string {
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (!text.startsWith('/') && !parts.includes('..') && parts.length > 0) return parts.join('/');
  throw new UsageError(`${option}: volume-subpath '${text}' is not a relative path below the volume, without '..'`);
}

function parseBind(option: string, fields: Fields, host: HostReaders): Mount {
  const bind: Bind = {
    source: resolveSource(option, required(option, fields, 'source'), host),
    destination: checkDestination(option, required(option, fields, 'target')),
    readonly: isOn(option, fields, 'readonly'),
    propagation: choose(option, fields, 'bind-propagation', ['rprivate', ...propagations]),
    recursive: choose(option, fields, 'bind-recursive', ['enabled', 'disabled', 'writable', 'readonly']),
  };
  if (!bind.readonly && (bind.recursive === 'writable' || bind.recursive === 'readonly')) {
    throw new UsageError(`${option}: bind-recursive=${bind.recursive} is only for a readonly mount`);
  }
  if (bind.recursive === 'readonly' && bind.propagation !== 'rprivate') {
    throw new UsageError(`${option}: bind-recursive=readonly needs bind-propagation=rprivate, so that it stays true`);
  }
  return bindMount(bind);
}

function parseTmpfsFields(option: string, fields: Fields): Mount {
  const destination = checkDestination(option, required(option, fields, 'target'));
  const size = fields.get('tmpfs-size');
  const mode = fields.get('tmpfs-mode');
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode)) {
    throw new UsageError(`${option}: tmpfs-mode '${mode}' is not an octal mode such as 1777`);
  }
  const words = isOn(option, fields, 'readonly') ? ['ro'] : [];
  if (mode !== undefined) words.push(`mode=${mode}`);
  if (size !== undefined) words.push(`size=${parseSize(`${option}: tmpfs-size`, size)}`);
  return tmpfsMount(destination, words);
}

const isType = (text: string): text is MountType => Object.hasOwn(allowedKeys, text);

/** Reads one --mount. @throws UsageError */
export function parseMount(text: string, host: HostReaders): Mount | VolumeMount {
  const option = `--mount '${text}'`;
  const fields = readFields(option, text);
  const type = fields.get('type') ?? 'volume'; // docker's default
  if (!isType(type))
    throw new UsageError(`${option}: type '${type}' is none of ${Object.keys(allowedKeys).join(', ')}`);
  checkKeys(option, type, fields);
  if (type === 'volume') return parseVolumeFields(option, fields, host);
  return type === 'bind' ? parseBind(option, fields, host) : parseTmpfsFields(option, fields);
}
