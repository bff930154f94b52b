/** Facts of a container's process as the host's /proc and cgroup files tell them. Host side, reads only. Source: proc(5). */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cgroupRoot } from '../../core/host/cgroup.ts';
import { parseMountinfo } from '../../core/host/mountinfo.ts';
import { capabilitiesIn } from '../../core/plan/capabilities.ts';
import type { Fact } from './facts.ts';

type Neutral = (text: string) => string;

/** What can't be read is a fact as well: '?' and the errno. `hidden`: masked and read-only paths, which are mounts whose order has no effect. */
export function outsideFacts(pid: number, neutral: Neutral, hidden: readonly string[]): Fact[] {
  return [
    ...namespaces(pid),
    ...mounts(pid, neutral, hidden),
    ...statusFacts(pid),
    ...idMaps(pid),
    ...limits(pid),
    ...descriptors(pid, neutral),
    ...environment(pid, neutral),
    ...devices(pid, neutral),
    ...cgroup(pid, neutral),
    ...others(pid, neutral),
  ];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return `? ${(error as { code?: string }).code}`;
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    return `? ${(error as { code?: string }).code}`;
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** Pid and mount namespaces are held against those that the runtime was called in. */
function namespaces(pid: number): Fact[] {
  return list('/proc/self/ns')
    .filter((name) => !name.endsWith('_for_children'))
    .map((name) => {
      const own = link(`/proc/${pid}/ns/${name}`);
      const value = own === link(`/proc/self/ns/${name}`) ? 'shared with the host' : sharedWith(own, name);
      return { group: 'namespaces', subject: `namespace ${name}`, value };
    });
}

/** One that was joined by its path is the same for both containers, so its number may be told. */
function sharedWith(inode: string, name: string): string {
  return joinable.get(inode) ? `joined ${inode}` : `its own ${name}`;
}

/** Namespaces that config.json names by path, by what their links say. */
const joinable = new Map<string, true>();

export function noteJoined(paths: readonly string[], inodeOf: (path: string) => string): void {
  joinable.clear();
  for (const path of paths) joinable.set(inodeOf(path), true);
}

function mounts(pid: number, neutral: Neutral, hidden: readonly string[]): Fact[] {
  const found = parseMountinfo(read(`/proc/${pid}/mountinfo`));
  const seen = new Map<string, number>();
  const pointOf = new Map(found.map(({ id, mountPoint }) => [id, mountPoint]));
  const facts = found.flatMap(({ parent, root, mountPoint, options, optionalFields, fstype, source, superOptions }) => {
    const count = (seen.get(mountPoint) ?? 0) + 1;
    seen.set(mountPoint, count);
    const name = `mount ${neutral(mountPoint)}${count > 1 ? ` (${count})` : ''}`;
    const fact = (what: string, value: string): Fact => ({ group: 'mounts', subject: `${name}: ${what}`, value });
    const propagation = optionalFields.map((field) => field.split(':')[0]).join(' ') || 'private';
    return [
      fact('type', fstype),
      fact('source', neutral(source)),
      fact('root', neutral(root)),
      fact('lies on', neutral(pointOf.get(parent) ?? 'nothing')),
      fact('options', options.join(',')),
      fact('propagation', propagation),
      fact('file system options', neutral(superOptions.filter((option) => !/^inode(32|64)$/.test(option)).join(','))),
    ];
  });
  const points = found.map(({ mountPoint }) => mountPoint);
  const inOrder = (subject: string, list: readonly string[]): Fact => ({
    group: 'mounts',
    subject,
    value: list.map(neutral).join(' '),
  });
  return [
    ...facts,
    inOrder(
      'mounts in order',
      points.filter((point) => !hidden.includes(point)),
    ),
    inOrder(
      'masked and read-only paths in order',
      points.filter((point) => hidden.includes(point)),
    ),
  ];
}

function field(status: string, name: string): string {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '?';
}

const capabilitySets = {
  inheritable: 'CapInh',
  permitted: 'CapPrm',
  effective: 'CapEff',
  bounding: 'CapBnd',
  ambient: 'CapAmb',
};

function statusFacts(pid: number): Fact[] {
  const status = read(`/proc/${pid}/status`);
  const fact = (group: string, subject: string, value: string): Fact => ({ group, subject, value });
  const caps = Object.entries(capabilitySets).map(([name, key]) =>
    fact('capabilities', `capabilities ${name}`, capabilityText(field(status, key))),
  );
  const ids = ['Uid', 'Gid', 'Groups'].map((key) =>
    fact('ids', `${key} outside`, field(status, key).replaceAll('\t', ' ')),
  );
  const signals = {
    SigBlk: 'signals blocked',
    SigIgn: 'signals ignored',
    SigCgt: 'signals caught',
    ShdPnd: 'signals pending',
  };
  const security = { Seccomp: 'seccomp mode', Seccomp_filters: 'seccomp filters', NoNewPrivs: 'no_new_privs outside' };
  return [
    ...caps,
    ...ids,
    ...Object.entries(signals).map(([key, subject]) => fact('process', subject, field(status, key))),
    ...Object.entries(security).map(([key, subject]) => fact('seccomp and labels', subject, field(status, key))),
    ...['Speculation_Store_Bypass', 'SpeculationIndirectBranch', 'Threads', 'CoreDumping', 'THP_enabled'].map((key) =>
      fact('process', key, field(status, key)),
    ),
    ...['Cpus_allowed_list', 'Mems_allowed_list'].map((key) => fact('scheduling', key, field(status, key))),
  ];
}

function capabilityText(hex: string): string {
  if (!/^[0-9a-f]+$/.test(hex)) return hex;
  return capabilitiesIn(BigInt(`0x${hex}`)).join(' ') || 'none';
}

function idMaps(pid: number): Fact[] {
  return ['uid_map', 'gid_map', 'projid_map', 'setgroups', 'timens_offsets'].map((name) => ({
    group: 'ids',
    subject: name,
    value: read(`/proc/${pid}/${name}`)
      .trim()
      .replaceAll(/[ \t]+/g, ' ')
      .replaceAll('\n', ';'),
  }));
}

function limits(pid: number): Fact[] {
  return read(`/proc/${pid}/limits`)
    .split('\n')
    .slice(1)
    .filter(Boolean)
    .map((line) => {
      const [soft, hard] = line.slice(26).trim().split(/\s+/);
      return { group: 'limits', subject: `limit ${line.slice(4, 26).trim()}`, value: `soft ${soft}, hard ${hard}` };
    });
}

function descriptors(pid: number, neutral: Neutral): Fact[] {
  return list(`/proc/${pid}/fd`).map((fd) => ({
    group: 'descriptors',
    subject: `descriptor ${fd}`,
    value: neutral(link(`/proc/${pid}/fd/${fd}`)).replace(/:\[\d+\]/, ''),
  }));
}

function environment(pid: number, neutral: Neutral): Fact[] {
  const entries = read(`/proc/${pid}/environ`).split('\0').filter(Boolean).map(neutral);
  const name = (entry: string) => entry.split('=')[0]!;
  const facts = entries.map((entry, i) => ({
    group: 'environment',
    subject: `environment ${name(entry)}${entries.findIndex((other) => name(other) === name(entry)) < i ? ' again' : ''}`,
    value: entry.slice(name(entry).length + 1),
  }));
  return [...facts, { group: 'environment', subject: 'environment in order', value: entries.map(name).join(' ') }];
}

const types: Record<number, string> = { 2: 'c', 4: 'folder', 6: 'b', 8: 'file', 10: 'link', 1: 'fifo', 12: 'socket' };

/** /dev and what is below it, through /proc/PID/root. */
function devices(pid: number, neutral: Neutral): Fact[] {
  const top = `/proc/${pid}/root/dev`;
  const walk = (folder: string): string[] =>
    list(`${top}${folder}`).flatMap((name) => {
      const path = `${folder}/${name}`;
      return lstatSync(`${top}${path}`).isDirectory() ? [path, ...walk(path)] : [path];
    });
  return ['', ...walk('')].map((path) => ({
    group: 'devices',
    subject: `node /dev${path}`,
    value: neutral(nodeText(`${top}${path}`)),
  }));
}

function nodeText(path: string): string {
  try {
    const { mode, uid, gid, rdev } = lstatSync(path);
    const type = types[mode >> 12] ?? '?';
    if (type === 'link') return `link to ${readlinkSync(path)}, ${uid}:${gid}`;
    const number =
      type === 'c' || type === 'b' ? ` ${(rdev >> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >> 12) & 0xfff00)}` : '';
    return `${type}${number}, mode ${(mode & 0o7777).toString(8).padStart(4, '0')}, ${uid}:${gid}`;
  } catch (error) {
    return `? ${(error as { code?: string }).code}`;
  }
}

/** Files that count and measure; all others are what was written, or a default. */
const measured =
  /^cgroup\.(procs|threads|events|stat)|\.(stat|stat\.local|current|peak|events|events\.local|swap\.events|numa_stat|pressure|usage_usec|rsvd\.current)$|\.effective$/;

function cgroup(pid: number, neutral: Neutral): Fact[] {
  const path = /^0::(\/.*)$/m.exec(read(`/proc/${pid}/cgroup`))?.[1] ?? '?';
  const folder = `${cgroupRoot()}${path}`;
  const files = list(folder).filter((name) => !measured.test(name));
  return [
    { group: 'cgroup', subject: 'cgroup path', value: neutral(path) },
    ...files
      .map(
        (name): Fact => ({
          group: 'cgroup',
          subject: `cgroup file ${name}`,
          value: read(`${folder}/${name}`).trim().replaceAll('\n', '; '),
        }),
      )
      .filter(({ value }) => !/^\? (EINVAL|EACCES|EISDIR)/.test(value)),
    { group: 'process tree', subject: 'processes', value: processes(folder) },
  ];
}

/** Of the cgroup and those below, by their names. */
function processes(folder: string): string {
  const pids = read(`${folder}/cgroup.procs`)
    .split('\n')
    .filter((text) => /^\d+$/.test(text));
  const names = pids.map(
    (pid) =>
      `${read(`/proc/${pid}/comm`).trim()} (${field(read(`/proc/${pid}/status`), 'NSpid')
        .split(/\s+/)
        .at(-1)})`,
  );
  return names.join(' ');
}

function others(pid: number, neutral: Neutral): Fact[] {
  const status = read(`/proc/${pid}/stat`);
  const stat = status.slice(status.lastIndexOf(')') + 2).split(' ');
  const fact = (group: string, subject: string, value: string): Fact => ({
    group,
    subject,
    value: neutral(value.trim()),
  });
  const terminal = Number(stat[4]);
  const links = list(`/proc/${pid}/net/`).includes('dev')
    ? read(`/proc/${pid}/net/dev`)
        .split('\n')
        .slice(2)
        .map((line) => line.split(':')[0]!.trim())
        .filter(Boolean)
        .sort()
    : [];
  return [
    fact('process', 'command line', read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')),
    fact('process', 'oom_score_adj', read(`/proc/${pid}/oom_score_adj`)),
    fact('process', 'core dump filter', read(`/proc/${pid}/coredump_filter`)),
    fact('process', 'cwd outside', link(`/proc/${pid}/cwd`)),
    fact('process', 'dumpable outside', ownerOf(`/proc/${pid}/maps`)),
    fact('seccomp and labels', 'label', read(`/proc/${pid}/attr/current`).replaceAll('\0', '')),
    fact('process tree', 'terminal device', terminal === 0 ? 'none' : `${(terminal >> 8) & 0xfff}:*`),
    fact('scheduling', 'nice and policy', `nice ${stat[16]}, realtime priority ${stat[37]}, policy ${stat[38]}`),
    fact('network', 'network interfaces', links.join(' ')),
    fact('network', 'network addresses of IPv6', read(`/proc/${pid}/net/if_inet6`).trim().replaceAll(/\s+/g, ' ')),
    fact('network', 'network addresses of IPv4', ipv4(pid)),
  ];
}

const ownerOf = (path: string): string => {
  try {
    const { uid, gid } = lstatSync(path);
    return `files of /proc/PID belong to ${uid}:${gid}`;
  } catch (error) {
    return `? ${(error as { code?: string }).code}`;
  }
};

/** The local addresses of fib_trie. */
function ipv4(pid: number): string {
  const lines = read(`/proc/${pid}/net/fib_trie`).split('\n');
  const local = lines.flatMap((line, i) =>
    line.includes('/32 host LOCAL') ? [lines[i - 1]!.trim().split(' ').at(-1)!] : [],
  );
  return [...new Set(local)].join(' ');
}
