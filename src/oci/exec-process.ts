/** What `exec` is to run: a process.json, or the container's own process changed by options. Host side. */
import { readFileSync } from 'node:fs';
import { parseId } from '../core/init/user.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { capabilitiesIn, capabilityNames } from '../core/plan/capabilities.ts';
import { planRlimits } from '../core/plan/rlimits.ts';
import type { Capabilities } from '../core/spec/types.ts';
import { didYouMean } from '../engine/nearest.ts';
import { Problems, UsageError } from '../engine/usage-error.ts';
import { planScheduling } from '../spec/scheduling.ts';
import type { Process } from '../spec/types.ts';
import { validateProcess } from '../spec/validate.ts';
import { completeProcess, grantable, parseJson } from './config.ts';
import { plannerFaults } from './cross-checks.ts';
import { type Reporter, reportUnknown } from './log.ts';

export interface ProcessOptions {
  process?: string;
  tty?: boolean;
  user?: string;
  additionalGids: string[];
  cap: string[];
  cwd?: string;
  env: string[];
  newPrivs: boolean;
  apparmor?: string;
  processLabel?: string;
}

/** Config.json's process with another command. `own` is the container's, frozen at create. */
export function processOf(
  own: Process,
  args: readonly string[],
  options: ProcessOptions,
  permitted: bigint,
  report: Reporter,
): Process {
  if (options.process !== undefined) {
    refuseBeside(args, options);
    const process = withOwn(own, loadProcess(options.process, own, permitted, report));
    return options.tty ? { ...process, terminal: true } : process;
  }
  if (args.length === 0) throw new UsageError('process args cannot be empty');
  return changed(own, args, options, permitted, report);
}

/** The file says all of it: an option beside it would have no effect. */
function refuseBeside(args: readonly string[], options: ProcessOptions): void {
  const given = {
    '--user': options.user !== undefined,
    '--additional-gids': options.additionalGids.length > 0,
    '--cap': options.cap.length > 0,
    '--cwd': options.cwd !== undefined,
    '--env': options.env.length > 0,
    '--no-new-privs': !options.newPrivs,
    '--apparmor': options.apparmor !== undefined,
    '--process-label': options.processLabel !== undefined,
    'a command': args.length > 0,
  };
  const beside = Object.entries(given).flatMap(([name, there]) => (there ? [name] : []));
  if (beside.length > 0)
    throw new UsageError(`--process says what to run: ${beside.join(', ')} can't be given as well`);
}

/** What process.json says nothing about is as in the container; its terminal and its console's size are not. */
function withOwn(own: Process, process: Process): Process {
  const { terminal, consoleSize, user, args, env, cwd, ...limits } = own;
  return { ...limits, ...process };
}

function loadProcess(file: string, own: Process, permitted: bigint, report: Reporter): Process {
  const value = parseJson(readProcess(file), file);
  completeProcess(value, own.user);
  const { faults, unknown } = validateProcess(value);
  const { rlimits = [] } = value as Process;
  const plan = () => planRlimits(rlimits) && planScheduling(value as Process, undefined, true);
  const all = faults.length > 0 ? faults : plannerFaults(plan);
  if (all.length > 0) {
    const pointerOf = (pointer: string) => pointer.replace(/^\/process/, '') || 'the whole file';
    throw new UsageError(all.map(({ pointer, problem }) => `${file}: ${pointerOf(pointer)} ${problem}`));
  }
  reportUnknown(report, file, unknown);
  const process = value as Process;
  if (process.capabilities) process.capabilities = grantable(process.capabilities, permitted, report.warn);
  return process;
}

function readProcess(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    throw new ContainerError(`${file}: no such file or directory`);
  }
}

function changed(
  own: Process,
  args: readonly string[],
  options: ProcessOptions,
  permitted: bigint,
  report: Reporter,
): Process {
  const problems = new Problems();
  const { terminal, consoleSize, ...rest } = own;
  const process: Process = { ...rest, args: [...args], terminal: options.tty ?? false };
  const { user, cwd } = options;
  if (user !== undefined)
    problems.attempt(() => Object.assign(process, { user: { ...own.user, ...parseUser(user) } }), 0);
  const gids = problems.each(options.additionalGids, (text) => idOf('--additional-gids', text));
  process.user = { ...process.user, additionalGids: [...(own.user.additionalGids ?? []), ...gids] };
  if (cwd?.startsWith('/')) process.cwd = cwd;
  else if (cwd !== undefined) problems.add(`--cwd is ${JSON.stringify(cwd)}; it must be an absolute path`);
  process.env = [...(own.env ?? []), ...problems.each(options.env, parseEntry)];
  completeProcess(process, own.user);
  const caps = options.cap.filter((name) => canGive(name, permitted, report.warn));
  if (caps.length > 0) process.capabilities = withCapabilities(own.capabilities ?? {}, caps);
  if (!options.newPrivs) process.noNewPrivileges = true;
  if (options.apparmor !== undefined) process.apparmorProfile = options.apparmor;
  if (options.processLabel !== undefined) process.selinuxLabel = options.processLabel;
  problems.throwIfAny();
  return process;
}

/** UID or UID:GID, decimal: exact or an error, never root by default (SEC-15, CVE-2026-30892). */
export function parseUser(text: string): { uid: number; gid?: number } {
  const [uid = '', gid, ...more] = text.split(':');
  if (more.length > 0) throw new UsageError(`--user is ${JSON.stringify(text)}; it must be UID or UID:GID`);
  return gid === undefined ? { uid: idOf('--user', uid) } : { uid: idOf('--user', uid), gid: idOf('--user', gid) };
}

function idOf(option: string, text: string): number {
  const id = parseId(text);
  if (id === undefined)
    throw new UsageError(`${option} has ${JSON.stringify(text)}; an id is a number from 0 to ${2 ** 32 - 2}`);
  return id;
}

function parseEntry(text: string): string {
  if (text.indexOf('=') < 1) throw new UsageError(`--env is ${JSON.stringify(text)}; it must be NAME=VALUE`);
  return text;
}

/** What can't be given is left out with a warning, as in config.json. */
function canGive(name: string, permitted: bigint, warn: Reporter['warn']): boolean {
  if (capabilitiesIn(permitted).includes(name)) return true;
  const known = (capabilityNames as readonly string[]).includes(name);
  const why = known
    ? "can't be given: tinyctr-oci itself does not have it"
    : `is unknown${didYouMean(name, capabilityNames)}`;
  warn(`--cap ${name} ${why}: left out`);
  return false;
}

/** Never inheritable: what a program may is not for every program that it executes (CVE-2022-29162). Ambient is what was inheritable anyway. */
function withCapabilities(own: Capabilities, more: readonly string[]): Capabilities {
  const set = (names: readonly string[] = [], added = more) => [...new Set([...names, ...added])];
  const inherited = more.filter((name) => own.inheritable?.includes(name));
  return {
    ...own,
    bounding: set(own.bounding),
    effective: set(own.effective),
    permitted: set(own.permitted),
    ...(inherited.length > 0 && { ambient: set(own.ambient, inherited) }),
  };
}
