/** --security-opt, and the paths of /proc and /sys that are hidden or read-only in the container. Pure. */
import { readText } from './environment.ts';
import { cut } from './identity.ts';
import { didYouMean } from './nearest.ts';
import type { HostReaders, RunOptions } from './options.ts';
import { type Problems, UsageError } from './usage-error.ts';

/** The filter to install: the built-in profile, none, or the JSON object of a file in docker's profile format. */
export type SeccompChoice = 'default' | 'unconfined' | { path: string; profile: Record<string, unknown> };

export interface Security {
  noNewPrivileges: boolean;
  seccomp: SeccompChoice;
  /** False for --security-opt systempaths=unconfined and --privileged. */
  hideSystemPaths: boolean;
}

const known = ['no-new-privileges', 'seccomp', 'systempaths', 'apparmor', 'label'];

function parseNoNewPrivileges(text: string, value: string | undefined): Partial<Security> {
  if (value === undefined || value === 'true') return { noNewPrivileges: true };
  if (value === 'false') return { noNewPrivileges: false };
  throw new UsageError(`--security-opt '${text}': '${value}' is neither true nor false`);
}

/** Reads a seccomp profile. Its parts are checked where the filter is compiled. @throws UsageError */
function readProfile(path: string, host: HostReaders): SeccompChoice {
  const option = '--security-opt seccomp';
  const text = readText(option, path, host);
  let profile: unknown;
  try {
    profile = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${option} ${path} is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof profile === 'object' && profile !== null && 'defaultAction' in profile) {
    return { path: host.resolve(path), profile: profile as Record<string, unknown> };
  }
  throw new UsageError(`${option} ${path} is not a seccomp profile: it has no defaultAction`);
}

function parseSeccomp(value: string | undefined, host: HostReaders): Partial<Security> {
  if (!value) throw new UsageError('--security-opt seccomp has no value: give seccomp=unconfined or seccomp=FILE');
  if (value === 'unconfined') return { seccomp: value };
  return { seccomp: value === 'builtin' ? 'default' : readProfile(value, host) };
}

function parseSecurityOpt(text: string, host: HostReaders): Partial<Security> {
  const [key, value] = cut(text.replace(/^no-new-privileges:/, 'no-new-privileges='), '=');
  if (key === 'no-new-privileges') return parseNoNewPrivileges(text, value);
  if (key === 'seccomp') return parseSeccomp(value, host);
  if (key === 'systempaths') {
    if (value === 'unconfined') return { hideSystemPaths: false };
    throw new UsageError(`--security-opt '${text}': systempaths can only be unconfined`);
  }
  if (key === 'apparmor' || key === 'label') {
    throw new UsageError(`--security-opt '${text}' is not there yet: tinyctr sets no ${key} on containers`);
  }
  const allowed = `no-new-privileges, seccomp=, systempaths=unconfined${didYouMean(key, known)}`;
  throw new UsageError(`--security-opt '${text}' is not one of ${allowed}`);
}

/** docker's defaults, changed by each --security-opt in turn; --privileged opens all but a given seccomp profile. */
export function security(options: RunOptions, host: HostReaders, problems: Problems): Security {
  const open = options.privileged === true;
  const defaults: Security = {
    noNewPrivileges: false,
    seccomp: open ? 'unconfined' : 'default',
    hideSystemPaths: !open,
  };
  return Object.assign(defaults, ...problems.each(options.securityOpt, (text) => parseSecurityOpt(text, host)));
}

/** Hidden because they show or change the host: memory, keys, timers, power use (a side channel to other's secrets). */
const maskedPaths = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** The numbers in a kernel cpu list such as `0-3,8` (cpuset(7), "List format"). */
function cpuNumbers(list: string): number[] {
  return [...list.matchAll(/(\d+)(?:-(\d+))?/g)].flatMap(([, first, last]) => {
    const begin = Number(first);
    return Array.from({ length: Number(last ?? first) - begin + 1 }, (_, index) => begin + index);
  });
}

/** Each processor's count of thermal events, where the machine has one: as revealing as /proc/interrupts. */
function thermalPaths(host: HostReaders): string[] {
  const possible = '/sys/devices/system/cpu/possible';
  if (!host.exists(possible)) return [];
  const numbers = cpuNumbers(Buffer.from(host.readFile(possible)).toString());
  return numbers.map((n) => `/sys/devices/system/cpu/cpu${n}/thermal_throttle`).filter((path) => host.exists(path));
}

/** linux.maskedPaths and linux.readonlyPaths, docker's lists; nothing when they are opened. */
export function systemPaths(hide: boolean, host: HostReaders): { maskedPaths?: string[]; readonlyPaths?: string[] } {
  if (!hide) return {};
  return { maskedPaths: [...maskedPaths, ...thermalPaths(host)], readonlyPaths: [...readonlyPaths] };
}
