/**
 * What counts of an image's configuration. An image is untrusted: only these fields are read, each checked; labels
 * and whatever else stands there change nothing (SEC-16). Pure. Source: OCI image-spec, config.md.
 */
import { ContainerError } from '../core/kernel/error.ts';
import { limits } from './limits.ts';

/** The only image fields that are ever read: an image is untrusted, its labels change nothing (SEC-16). */
export interface ImageConfig {
  Env?: string[];
  Cmd?: string[];
  Entrypoint?: string[];
  WorkingDir?: string;
  User?: string;
  ExposedPorts?: Record<string, unknown>;
  /** Places in the container, which get an anonymous volume each. */
  Volumes?: Record<string, unknown>;
  StopSignal?: string;
}

/** The checked parts of an image's configuration document. */
export interface ImageDocument {
  config: ImageConfig;
  architecture: string;
  variant?: string;
  os: string;
  /** RFC 3339, as the document has it; the epoch when it says nothing. */
  created: string;
  /** Digests of the layers' archives without compression, lowest first. */
  diffIds: string[];
}

type Fields = Record<string, unknown>;
const EPOCH = '1970-01-01T00:00:00Z';

/** Parses a configuration. `where` names it in errors. Throws ContainerError that names the field. */
export function readImageDocument(bytes: Buffer, where: string): ImageDocument {
  const document = asObject(parseJson(bytes, where), where, 'the document');
  const rootfs = asObject(document.rootfs, where, 'rootfs');
  const created = document.created === undefined ? EPOCH : asString(document.created, where, 'created');
  if (Number.isNaN(Date.parse(created))) throw wrong(where, 'created', 'a time like 2026-01-31T12:00:00Z', created);
  const result: ImageDocument = {
    config: readImageConfig(document.config ?? {}, where),
    architecture: asWord(document.architecture, where, 'architecture'),
    os: asWord(document.os, where, 'os'),
    created,
    diffIds: readDiffIds(rootfs.diff_ids, where),
  };
  if (document.variant !== undefined && document.variant !== '')
    result.variant = asWord(document.variant, where, 'variant');
  return result;
}

/** Reads JSON and keeps to the size limit. Throws ContainerError. */
export function parseJson(bytes: Buffer, where: string): unknown {
  if (bytes.length > limits.documentBytes)
    throw new ContainerError(`${where} has ${bytes.length} bytes, where at most ${limits.documentBytes} are allowed`);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new ContainerError(`${where} is not JSON: ${(error as Error).message}`);
  }
}

function readDiffIds(value: unknown, where: string): string[] {
  const diffIds = asStrings(value, where, 'rootfs.diff_ids');
  if (diffIds.length > limits.layers)
    throw new ContainerError(`${where} has ${diffIds.length} layers, where at most ${limits.layers} are allowed`);
  for (const id of diffIds) if (!isDigest(id)) throw wrong(where, 'rootfs.diff_ids', 'sha256 digests', id);
  return diffIds;
}

/** The `config` object: the eight fields that are read, each left out when the image has null or nothing. */
export function readImageConfig(value: unknown, where: string): ImageConfig {
  const fields = asObject(value, where, 'config');
  const config: ImageConfig = {};
  for (const key of ['Env', 'Cmd', 'Entrypoint'] as const)
    if (fields[key] != null) config[key] = asStrings(fields[key], where, `config.${key}`);
  for (const key of ['WorkingDir', 'User', 'StopSignal'] as const)
    if (fields[key] != null && fields[key] !== '') config[key] = asString(fields[key], where, `config.${key}`);
  if (fields.ExposedPorts != null) config.ExposedPorts = readPorts(fields.ExposedPorts, where);
  if (fields.Volumes != null) config.Volumes = readVolumes(fields.Volumes, where);
  return config;
}

function readVolumes(value: unknown, where: string): Record<string, unknown> {
  const places = asStrings(Object.keys(asObject(value, where, 'config.Volumes')), where, 'config.Volumes');
  if (places.length > limits.volumes)
    throw new ContainerError(`${where} has ${places.length} volumes, where at most ${limits.volumes} are allowed`);
  return Object.fromEntries(places.map((place) => [place, {}]));
}

function readPorts(value: unknown, where: string): Record<string, unknown> {
  const ports = Object.keys(asObject(value, where, 'config.ExposedPorts'));
  const bad = ports.find((port) => !/^[0-9]{1,5}(-[0-9]{1,5})?(\/(tcp|udp|sctp))?$/.test(port));
  if (bad !== undefined) throw wrong(where, 'config.ExposedPorts', 'ports like 80/tcp', bad);
  return Object.fromEntries(ports.map((port) => [port, {}]));
}

export function isDigest(value: unknown): value is string {
  return typeof value === 'string' && /^sha256:[a-f0-9]{64}$/.test(value);
}

export function asObject(value: unknown, where: string, field: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrong(where, field, 'an object', value);
  return value as Fields;
}

export function asString(value: unknown, where: string, field: string): string {
  if (typeof value !== 'string' || value.includes('\0')) throw wrong(where, field, 'a string without NUL', value);
  return value;
}

export function asStrings(value: unknown, where: string, field: string): string[] {
  if (!Array.isArray(value)) throw wrong(where, field, 'a list of strings', value);
  return value.map((item) => asString(item, where, field));
}

/** A name of an architecture, a system or a variant. */
export function asWord(value: unknown, where: string, field: string): string {
  if (typeof value !== 'string' || !/^[a-zA-Z0-9_.-]{1,64}$/.test(value)) throw wrong(where, field, 'a word', value);
  return value;
}

function wrong(where: string, field: string, allowed: string, found: unknown): ContainerError {
  const text = JSON.stringify(found) ?? 'nothing';
  return new ContainerError(`${where}: ${field} is ${text.slice(0, 80)}, where ${allowed} must be`);
}
