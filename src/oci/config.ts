/** A bundle's config.json: read, checked in full before the first system call, and completed with what the host decides. Host side. */
import { readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { ContainerError } from '../core/kernel/error.ts';
import { capabilityNames } from '../core/plan/capabilities.ts';
import type { Capabilities } from '../core/spec/types.ts';
import { didYouMean } from '../engine/nearest.ts';
import { UsageError } from '../engine/usage-error.ts';
import type { Spec } from '../spec/types.ts';
import { type Findings, validateSpec } from '../spec/validate.ts';
import { crossFaults, plannerFaults } from './cross-checks.ts';
import { type Reporter, reportUnknown } from './log.ts';
import { isBind, sysAsBind, withInlineMaps } from './mounts.ts';

export interface Bundle {
  /** Absolute. */
  path: string;
  spec: Spec;
  /** Absolute, without links. */
  rootfs: string;
}

type Warn = (message: string) => void;

/** What is read, and how. */
export interface BundleRequest {
  bundle: string;
  /** In place of config.json. As crun has it: that very name is the bundle's, any other path counts from the caller's folder. */
  config?: string;
}

/** @throws UsageError with every fault of the file, ContainerError if it or, unless it is not `needed`, the root filesystem can't be read */
export function loadBundle(
  { bundle, config = 'config.json' }: BundleRequest,
  permitted: bigint,
  report: Reporter,
  needed = true,
): Bundle {
  const path = resolve(bundle);
  const spec = parseConfig(report, config === 'config.json' ? `${path}/config.json` : resolve(config));
  if (spec.linux?.rootfsPropagation === ('' as never)) delete spec.linux.rootfsPropagation;
  if (spec.linux?.maskedPaths) spec.linux.maskedPaths = [...new Set(spec.linux.maskedPaths)];
  for (const mount of spec.mounts ?? []) {
    if (!mount.destination.startsWith('/')) mount.destination = `/${mount.destination}`; // as OCI 1.0 allowed
    if (isBind(mount) && mount.source) mount.source = resolve(path, mount.source);
  }
  const userNamespace = spec.linux?.namespaces?.find(({ type }) => type === 'user');
  if (userNamespace?.path && spec.linux?.uidMappings)
    report.warn(
      'config.json: /linux/uidMappings and gidMappings are ignored: the user namespace that is joined has its own',
    );
  const given = userNamespace ? -1n : permitted; // in a user namespace a process has all of them
  if (spec.process?.capabilities) spec.process.capabilities = grantable(spec.process.capabilities, given, report.warn);
  return { path, spec, rootfs: findRoot(resolve(path, spec.root!.path), needed) };
}

function parseConfig(report: Reporter, file: string): Spec {
  const value = parseJson(readConfig(file), file);
  if (isObject(value)) completeProcess(value.process, { uid: 0, gid: 0 });
  const { faults, unknown } = validateSpec(value);
  const all = faults.length > 0 ? faults : completed(value as Spec, report);
  if (all.length > 0)
    throw new UsageError(all.map(({ pointer, problem }) => `config.json: ${pointer || 'the whole file'} ${problem}`));
  reportUnknown(report, 'config.json', unknown);
  return value as Spec;
}

/** What goes without saying is said. Returns what is wrong all the same. */
function completed(spec: Spec, report: Reporter): Findings['faults'] {
  mapRoot(spec);
  for (const [i, mount] of (spec.mounts ?? []).entries()) {
    const faults = plannerFaults(() => Object.assign(mount, withInlineMaps(mount, i)));
    if (faults.length > 0) return faults;
    const instead = sysAsBind(mount, spec);
    if (instead !== mount)
      report.warn(
        `config.json: /mounts/${i}: a sysfs of its own needs a network namespace of its own: the host's /sys is bound, read-only`,
      );
    Object.assign(mount, instead);
  }
  return crossFaults(spec);
}

/** A new user namespace that nobody gave ids: its root is the caller, as crun has it, and nobody else is there. */
function mapRoot({ linux }: Spec): void {
  if (!linux?.namespaces?.some(({ type, path }) => type === 'user' && !path)) return;
  if (linux.uidMappings?.length || linux.gidMappings?.length) return;
  linux.uidMappings = [{ containerID: 0, hostID: process.getuid!(), size: 1 }];
  linux.gidMappings = [{ containerID: 0, hostID: process.getgid!(), size: 1 }];
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** An id that is left out is `user`'s; of a variable that is there twice the last counts, and an empty HOME is none. As runc has both. */
export function completeProcess(process: unknown, user: { uid: number; gid: number }): void {
  if (!isObject(process)) return;
  const { user: given, env } = process;
  if (given === undefined) process.user = user;
  else if (isObject(given)) process.user = { uid: user.uid, gid: user.gid, ...given };
  if (Array.isArray(env)) process.env = lastOfEach(env).filter((entry) => entry !== 'HOME=');
}

/** Entries without a name stay, for the validation to refuse. */
function lastOfEach(env: readonly unknown[]): unknown[] {
  const nameOf = (entry: unknown) => /^([^=]+)=/.exec(String(entry))?.[1] ?? entry;
  return [...new Map(env.map((entry) => [nameOf(entry), entry])).values()];
}

function readConfig(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    throw new ContainerError(`${file}: no such file or directory`, { hint: 'tinyctr-oci spec makes one' });
  }
}

/** Fields that are null are fields that are not there: Go writes them. */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text, (_key, value) => (value === null ? undefined : value));
  } catch (error) {
    const { message } = error as SyntaxError;
    const position = /at position (\d+)/.exec(message)?.[1];
    const before = text.slice(0, Number(position ?? 0)).split('\n');
    const where = position === undefined ? '' : `, line ${before.length}, column ${before.at(-1)!.length + 1}`;
    throw new ContainerError(`${file} is not JSON${where}: ${message}`);
  }
}

function findRoot(path: string, needed: boolean): string {
  const fault = (reason: string) => new ContainerError(`the root ${path}: ${reason}`, { specPointer: '/root/path' });
  const status = statusOf(path, needed);
  if (!status && !needed) return path;
  if (!status) throw fault('no such file or directory');
  if (!status.isDirectory()) throw fault('not a directory');
  return realpathSync(path);
}

function statusOf(path: string, needed: boolean): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (needed) throw error; // EACCES
    return undefined;
  }
}

/**
 * What can't be given is left out with a warning (config.md: capabilities); an ambient one must be inheritable as well. Clients that
 * have given up inheritable ones go on sending ambient ones (buildah): without any, they ask for nothing.
 */
export function grantable(wanted: Capabilities, permitted: bigint, warn: Warn): Capabilities {
  const reasons = new Map<string, string>();
  const ambient: string[] = [];
  const can = (name: string, set: keyof Capabilities): boolean => {
    if (set === 'ambient' && !wanted.inheritable?.length) return false;
    const number = (capabilityNames as readonly string[]).indexOf(name);
    if (number < 0) reasons.set(name, `is unknown${didYouMean(name, capabilityNames)}`);
    else if (set !== 'bounding' && !((permitted >> BigInt(number)) & 1n))
      reasons.set(name, 'is not in the permitted set of tinyctr-oci itself');
    else if (set === 'ambient' && !(wanted.inheritable?.includes(name) && wanted.permitted?.includes(name)))
      ambient.push(name);
    else return true;
    return false;
  };
  const sets = Object.entries(wanted) as [keyof Capabilities, string[]][];
  const given = sets.map(([set, names]) => [set, names.filter((name) => can(name, set))]);
  for (const [name, reason] of reasons) warn(`the capability ${name} ${reason}: left out`);
  for (const name of ambient)
    warn(`can't raise ambient capability ${name}: it must be inheritable and permitted as well`);
  return Object.fromEntries(given) as Capabilities;
}
