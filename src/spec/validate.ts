/**
 * Is this config.json what its types say? All faults at once, each with its JSON pointer, what was found and what is
 * allowed. Fields of OCI that this runtime does not carry out yet are faults as well: nothing asked for is dropped silently.
 * Pure. Source: runtime-spec 1.3.0, config.md and config-linux.md.
 */

import {
  ioClasses,
  memoryPolicyFlags,
  memoryPolicyModes,
  parseCpuList,
  personalityDomains,
  schedulerFlags,
  schedulerPolicies,
} from './scheduling.ts';

export interface Findings {
  faults: { pointer: string; problem: string }[];
  /** Fields that OCI does not know; they must be ignored (config.md: Extensibility). */
  unknown: { pointer: string; name: string; known: readonly string[] }[];
}

type Check = (value: unknown, at: string, findings: Findings) => void;

const fault = (findings: Findings, pointer: string, found: unknown, allowed: string): void => {
  const problem =
    found === undefined ? `is missing; it must be ${allowed}` : `is ${shown(found)}; allowed is ${allowed}`;
  findings.faults.push({ pointer, problem });
};

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

const matching =
  (allowed: string, fits: (value: unknown) => boolean): Check =>
  (value, at, findings) => {
    if (!fits(value)) fault(findings, at, value, allowed);
  };

const isText = (value: unknown): value is string => typeof value === 'string' && !value.includes('\0');
const text = matching('a string without NUL', isText);
const flag = matching('true or false', (value) => typeof value === 'boolean');
const absolute = matching('an absolute path', (value) => isText(value) && value.startsWith('/'));
const nonEmpty = matching('a string that is not empty', (value) => isText(value) && value !== '');
const variable = matching('NAME=VALUE', (value) => isText(value) && value.indexOf('=') > 0);
const words = (...known: string[]) => matching(known.join(', '), (value) => known.includes(value as string));
const integer = (least: number, most: number) =>
  matching(`a whole number from ${least} to ${most}`, (value) => {
    return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
  });
const id = integer(0, 2 ** 32 - 2);
const int64 = integer(-(2 ** 63), 2 ** 63);
const uint64 = integer(0, 2 ** 64);

const list =
  (item: Check, least = 0): Check =>
  (value, at, findings) => {
    if (!Array.isArray(value) || value.length < least)
      fault(findings, at, value, least ? 'a list that is not empty' : 'a list');
    else for (let i = 0; i < value.length; i++) item(value[i], `${at}/${i}`, findings);
  };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1'); // RFC 6901

const map =
  (item: Check): Check =>
  (value, at, findings) => {
    if (!isObject(value)) fault(findings, at, value, 'an object');
    else for (const [name, field] of Object.entries(value)) item(field, `${at}/${escaped(name)}`, findings);
  };

/** A map whose names are checked as well. */
const keyed =
  (allowed: string, names: RegExp, item: Check): Check =>
  (value, at, findings) => {
    map(item)(value, at, findings);
    for (const name of isObject(value) ? Object.keys(value) : [])
      if (!names.test(name)) fault(findings, `${at}/${escaped(name)}`, name, allowed);
  };

function object(fields: Record<string, Check>, required: readonly string[] = []): Check {
  const known = Object.keys(fields);
  return (value, at, findings) => {
    if (!isObject(value)) return fault(findings, at, value, 'an object');
    for (const name of Object.keys(value)) {
      if (Object.hasOwn(fields, name)) fields[name]!(value[name], `${at}/${escaped(name)}`, findings);
      else findings.unknown.push({ pointer: `${at}/${escaped(name)}`, name, known });
    }
    for (const name of required)
      if (value[name] === undefined) fields[name]!(undefined, `${at}/${escaped(name)}`, findings);
  };
}

/** Nothing is asked for by an empty value, such as Go's encoder writes. */
function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) ? Object.values(value).every(isEmpty) : !value;
}

const later: Check = (value, at, { faults }) => {
  if (!isEmpty(value)) faults.push({ pointer: at, problem: 'is not there yet: tinyctr-oci does not carry it out' });
};
/** What cgroup v1 had and v2 has not. -1 is no limit. */
const v1 =
  (why: string): Check =>
  (value, at, { faults }) => {
    if (!isEmpty(value) && value !== -1) faults.push({ pointer: at, problem: `can't be kept: cgroup v2 has ${why}` });
  };
const otherPlatform: Check = () => undefined;

/** Fields that Go writes empty where it means none. */
const optional =
  (check: Check): Check =>
  (value, at, findings) => {
    if (!isEmpty(value)) check(value, at, findings);
  };
const processors = matching('a list of processors such as "0-3,7"', (value) => isText(value) && !!parseCpuList(value));

const capabilities = list(text);
const process = object(
  {
    terminal: flag,
    consoleSize: object({ height: integer(0, 65535), width: integer(0, 65535) }, ['height', 'width']),
    user: object({ uid: id, gid: id, umask: integer(0, 0o777), additionalGids: list(id), username: otherPlatform }),
    args: list(text, 1),
    commandLine: otherPlatform,
    env: list(variable),
    cwd: absolute,
    capabilities: object({
      bounding: capabilities,
      effective: capabilities,
      inheritable: capabilities,
      permitted: capabilities,
      ambient: capabilities,
    }),
    rlimits: list(
      object({ type: text, soft: integer(-1, 2 ** 64), hard: integer(-1, 2 ** 64) }, ['type', 'soft', 'hard']),
    ),
    noNewPrivileges: flag,
    oomScoreAdj: integer(-1000, 1000),
    apparmorProfile: text,
    selinuxLabel: text,
    scheduler: optional(
      object(
        {
          policy: words(...Object.keys(schedulerPolicies)),
          nice: integer(-20, 19),
          priority: integer(0, 99),
          flags: list(words(...Object.keys(schedulerFlags))),
          ...{ runtime: uint64, deadline: uint64, period: uint64 },
        },
        ['policy'],
      ),
    ),
    ioPriority: optional(
      object({ class: words(...Object.keys(ioClasses)), priority: integer(0, 7) }, ['class', 'priority']),
    ),
    execCPUAffinity: object({ initial: optional(processors), final: optional(processors) }),
  },
  ['args', 'cwd'],
);

const idMap = list(
  object({ containerID: id, hostID: id, size: integer(1, 2 ** 32 - 1) }, ['containerID', 'hostID', 'size']),
);
const timeOffset = object({ secs: integer(-(2 ** 53), 2 ** 53), nanosecs: integer(0, 999_999_999) });

const mount = object(
  { destination: nonEmpty, type: text, source: text, options: list(text), uidMappings: idMap, gidMappings: idMap },
  ['destination'],
);

const number = integer(0, 2 ** 63 - 1);
/** Lists such as 0-3,7; the kernel knows which of them there are. */
const numbers = matching('a list of numbers such as 0-3,7', (value) => isText(value) && /^[\d,-]*$/.test(value));
const weight: Check = (value, at, findings) => {
  if (value !== 0) integer(10, 1000)(value, at, findings);
};
const noLeaves = v1('no weight of its own for the processes of a cgroup that has children');
const device = { major: integer(0, 0xfff), minor: integer(0, 0xfffff) };
const throttle = list(object({ ...device, rate: uint64 }, ['major', 'minor', 'rate']));
const realtime = v1('no limit of real-time processes');
const kernelMemory = v1("no limit of the kernel's memory: it is part of memory.limit");

const resources = object({
  devices: list(object({ allow: flag, type: text, major: int64, minor: int64, access: text }, ['allow'])),
  memory: object({
    ...{ limit: int64, swap: int64, reservation: int64, checkBeforeUpdate: flag, useHierarchy: flag },
    ...{ kernel: kernelMemory, kernelTCP: kernelMemory, swappiness: v1('no swappiness of a cgroup') },
    disableOOMKiller: v1('no way to switch the OOM killer off'),
  }),
  cpu: object({
    ...{ shares: uint64, quota: int64, period: uint64, burst: number, idle: integer(0, 1) },
    ...{ cpus: numbers, mems: numbers, realtimeRuntime: realtime, realtimePeriod: realtime },
  }),
  pids: object({ limit: int64 }),
  blockIO: object({
    ...{ weight, leafWeight: noLeaves },
    weightDevice: list(object({ ...device, weight, leafWeight: noLeaves }, ['major', 'minor'])),
    ...{ throttleReadBpsDevice: throttle, throttleWriteBpsDevice: throttle },
    ...{ throttleReadIOPSDevice: throttle, throttleWriteIOPSDevice: throttle },
  }),
  hugepageLimits: list(
    object(
      {
        pageSize: matching('a size such as 64KB, 2MB or 1GB', (value) => /^[1-9]\d*[KMG]B$/.test(String(value))),
        limit: uint64,
      },
      ['pageSize', 'limit'],
    ),
  ),
  network: object({
    classID: v1('no class of packets: filter by the cgroup itself (nftables, socket cgroupv2)'),
    priorities: v1('no priorities of network interfaces'),
  }),
  rdma: keyed(
    'a name of an RDMA device',
    /^[\w.-]+$/,
    object({ hcaHandles: integer(0, 2 ** 32 - 1), hcaObjects: integer(0, 2 ** 32 - 1) }),
  ),
  unified: map(text),
});

const seccomp = object(
  {
    ...{ defaultAction: text, defaultErrnoRet: uint64, architectures: list(text), flags: list(text) },
    ...{ listenerPath: optional(absolute), listenerMetadata: text },
    syscalls: list(
      object(
        {
          ...{ names: list(text, 1), action: text, errnoRet: uint64, comment: otherPlatform },
          args: list(object({ index: uint64, value: uint64, valueTwo: uint64, op: text }, ['index', 'value', 'op'])),
        },
        ['names', 'action'],
      ),
    ),
  },
  ['defaultAction'],
);

/** Its three fields by runc's names for them, which its clients look for. */
const known =
  (what: string, table: Readonly<Record<string, number>>): Check =>
  (value, at, { faults }) => {
    if (Object.hasOwn(table, String(value))) return;
    const names = Object.keys(table).join(', ');
    faults.push({
      pointer: at,
      problem: `is an invalid memory policy ${what}: ${shown(value ?? '')}; allowed are ${names}`,
    });
  };
const nodes: Check = (value, at, { faults }) => {
  if (!(isText(value) && (value === '' || parseCpuList(value))))
    faults.push({
      pointer: at,
      problem: `is an invalid memory policy node list: ${shown(value)}; allowed are lists such as 0-3,7`,
    });
};
const memoryPolicy = object(
  { mode: known('mode', memoryPolicyModes), nodes, flags: list(known('flag', memoryPolicyFlags)) },
  ['mode'],
);

export const namespaceTypes = ['pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time'] as const;
const linux = object({
  namespaces: list(object({ type: words(...namespaceTypes), path: text }, ['type'])),
  ...{ uidMappings: idMap, gidMappings: idMap, netDevices: later, memoryPolicy: optional(memoryPolicy) },
  timeOffsets: object({ monotonic: timeOffset, boottime: timeOffset }),
  devices: list(
    object(
      {
        ...{ path: absolute, type: words('c', 'b', 'u', 'p'), major: integer(0, 0xfff), minor: integer(0, 0xfffff) },
        ...{ fileMode: integer(0, 0o177777), uid: id, gid: id },
      },
      ['path', 'type'],
    ),
  ),
  cgroupsPath: text,
  resources,
  rootfsPropagation: words('shared', 'slave', 'private', 'unbindable', 'rshared', 'rslave', 'rprivate', ''),
  seccomp,
  sysctl: map(text),
  maskedPaths: list(absolute),
  readonlyPaths: list(absolute),
  mountLabel: text,
  intelRdt: later,
  personality: optional(
    object({ domain: words(...Object.keys(personalityDomains)), flags: list(words(), 0) }, ['domain']),
  ),
});

const hook = object({ path: absolute, args: list(text), env: list(variable), timeout: integer(1, 2 ** 31 - 1) }, [
  'path',
]);
export const hookNames = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;
const hooks = object(Object.fromEntries(hookNames.map((name) => [name, list(hook)])));

const config = object(
  {
    ociVersion: matching('a version 1.x.y', (value) => isText(value) && /^1\.\d+\.\d+(-[\w.+-]+)?$/.test(value)),
    process,
    root: object({ path: nonEmpty, readonly: flag }, ['path']),
    hostname: text,
    domainname: text,
    mounts: list(mount),
    annotations: map(text),
    hooks,
    linux,
    ...{
      solaris: otherPlatform,
      windows: otherPlatform,
      vm: otherPlatform,
      zos: otherPlatform,
      freebsd: otherPlatform,
    },
  },
  ['ociVersion', 'process', 'root'],
);

/** `value` is config.json, parsed, without the fields that are null. When there are no faults it is a Spec. */
export function validateSpec(value: unknown): Findings {
  const findings: Findings = { faults: [], unknown: [] };
  config(value, '', findings);
  return findings;
}

/** The same for a process.json: what clients give to `exec`. Its pointers begin with /process. */
export function validateProcess(value: unknown): Findings {
  const findings: Findings = { faults: [], unknown: [] };
  process(value, '/process', findings);
  return findings;
}

/** The same for linux.resources alone: what clients give to `update`. Its pointers begin there. */
export function validateResources(value: unknown): Findings {
  const findings: Findings = { faults: [], unknown: [] };
  resources(value, '', findings);
  return findings;
}
