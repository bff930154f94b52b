/** A host made of plain data, and empty options, for the tests of src/engine. */
import { posix } from 'node:path';
import { expect } from 'vitest';
import type { HostDevice, HostReaders, RunOptions } from '../../../src/engine/options.ts';
import { type ContainerSpec, type ContainerSpecInput, containerSpec } from '../../../src/engine/spec.ts';
import { UsageError } from '../../../src/engine/usage-error.ts';

export function runOptions(changes: Partial<RunOptions> = {}): RunOptions {
  return {
    ...{ env: [], envFile: [], volume: [], mount: [], tmpfs: [], groupAdd: [], ulimit: [], device: [] },
    ...{ capAdd: [], capDrop: [], securityOpt: [], sysctl: [], dns: [], addHost: [], label: [] },
    ...changes,
  };
}

export function device(path: string, changes: Partial<HostDevice> = {}): HostDevice {
  return { path, type: 'c', major: 10, minor: 229, fileMode: 0o20660, uid: 0, gid: 6, ...changes };
}

export interface FakeHost {
  files?: Record<string, string | Uint8Array>;
  devices?: Record<string, HostDevice[]>;
  env?: Record<string, string>;
  cpus?: number;
}

/** Files not in `files` do not exist, /dev is empty unless `devices` fills it; the working directory is /work/here. */
export function fakeHost({ files = {}, devices = {}, env = {}, cpus = 4 }: FakeHost = {}): HostReaders {
  const all: Record<string, string | Uint8Array> = {
    '/proc/self/status': 'Name:\tnode\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n',
    '/proc/sys/net/ipv4/ip_unprivileged_port_start': '1024\n',
    '/proc/sys/net/ipv4/ping_group_range': '1\t0\n',
    ...files,
  };
  const missing = (path: string) => new Error(`ENOENT: no such file or directory, open '${path}'`);
  return {
    hostname: 'host1',
    cpus,
    env,
    readFile(path) {
      const text = all[path];
      if (text === undefined) throw missing(path);
      return typeof text === 'string' ? new TextEncoder().encode(text) : text;
    },
    exists: (path) => path in all || path in devices,
    resolve: (path) => posix.resolve('/work/here', path),
    realPath: (path) => path,
    volumeName: () => 'f'.repeat(64),
    devices(path) {
      const found = devices[path] ?? (path === '/dev' ? [] : undefined);
      if (!found) throw missing(path);
      return found;
    },
  };
}

const id = '0123456789abcdef'.repeat(4);
const files = { hosts: '/run/c/hosts', hostname: '/run/c/hostname', resolvConf: '/run/c/resolv.conf' };

function specInput(options: Partial<RunOptions> = {}, changes: Partial<ContainerSpecInput> = {}) {
  const where = { rootfs: '/rootfs', files, volumes: '/volumes' };
  const defaults = { command: ['sh'], image: {}, id, ...where, terminal: false, host: fakeHost() };
  return { ...defaults, options: runOptions(options), ...changes } satisfies ContainerSpecInput;
}

export function specOf(options: Partial<RunOptions> = {}, changes: Partial<ContainerSpecInput> = {}): ContainerSpec {
  return containerSpec(specInput(options, changes));
}

/** The problems that `act` reports; a failure when it reports none. */
export function problemsOf(act: () => unknown): readonly string[] {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as UsageError).problems;
  }
  throw new Error('no UsageError was thrown');
}

/** The one problem that `act` reports. */
export function problemOf(act: () => unknown): string {
  const problems = problemsOf(act);
  expect(problems).toHaveLength(1);
  return problems[0]!;
}
