/** How two runtimes have made the same container: strace's lines of both, gathered by what calls are for, side by side. Pure. */
import { probeFolder } from './tasks.ts';

/** What makes a container; "?" is for calls that this strace does not know. */
const traced = [
  ...[
    'clone',
    'clone3',
    'unshare',
    'setns',
    'mount',
    'umount2',
    'pivot_root',
    'chroot',
    'fsopen',
    'fsconfig',
    'fsmount',
  ],
  ...[
    'open_tree',
    'move_mount',
    'mount_setattr',
    'mknod',
    'mknodat',
    'symlink',
    'symlinkat',
    'sethostname',
    'setdomainname',
  ],
  ...[
    'setsid',
    'prctl',
    'capset',
    'setuid',
    'setgid',
    'setresuid',
    'setresgid',
    'setgroups',
    'seccomp',
    'execve',
    'execveat',
  ],
  ...[
    'close_range',
    'chdir',
    'fchdir',
    'prlimit64',
    'setrlimit',
    'personality',
    'sched_setattr',
    'ioprio_set',
    'keyctl',
    'bpf',
  ],
];

/** Stands before a runtime's create. -D: what is traced is the caller's child, and the trace goes on when it has ended. */
export const straceWords = (file: string): string[] => [
  ...[
    'strace',
    '-D',
    '-f',
    '-y',
    '-qq',
    '-s',
    '400',
    '-o',
    file,
    '-e',
    `trace=${traced.map((name) => `?${name}`).join(',')}`,
  ],
];

export interface TracedCall {
  name: string;
  /** As strace prints them. */
  args: string;
  result: string;
}

/** Calls that succeeded, in the order in which they began, up to the execution of the probe. A call that was interrupted by others is one. */
export function parseStrace(text: string): TracedCall[] {
  const calls: (TracedCall & { pid: string })[] = [];
  const open = new Map<string, TracedCall>();
  for (const line of text.split('\n')) {
    const [, pid = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const begun = /^(\w+)\((.*?),? ?<unfinished \.\.\.>$/.exec(rest);
    const resumed = /^<\.\.\. \w+ resumed>(.*?)\) += (.*)$/.exec(rest);
    const whole = /^(\w+)\((.*)\) += (.*)$/.exec(rest);
    if (begun) {
      const call = { pid, name: begun[1]!, args: begun[2]!, result: '' };
      calls.push(call);
      open.set(pid, call);
    } else if (resumed && open.has(pid)) {
      const call = open.get(pid)!;
      Object.assign(call, {
        args: [call.args, resumed[1]!.replace(/^, /, '')].filter(Boolean).join(', '),
        result: resumed[2]!,
      });
    } else if (whole) calls.push({ pid, name: whole[1]!, args: whole[2]!, result: whole[3]! });
  }
  const end = calls.findIndex(
    ({ name, args, result }) => /^execve/.test(name) && args.includes(`${probeFolder}/probe`) && result === '0',
  );
  return calls
    .slice(0, end < 0 ? undefined : end + 1)
    .filter(({ result }) => !result.startsWith('-1') && result !== '')
    .map(({ name, args, result }) => ({ name, args, result }));
}

/** Stands for the path of the root filesystem on the host. */
const ROOTFS = '$ROOTFS';

/** Calls that serve one thing; `key` says which. */
export interface Act {
  key: string;
  calls: TracedCall[];
}

/** `rootfs`: where the root filesystem is on the host. What a runtime does for itself is left out. */
export function actsOf(calls: readonly TracedCall[], rootfs: string): Act[] {
  const acts: Act[] = [];
  for (const whole of calls) {
    const call = { ...whole, args: whole.args.replaceAll(rootfs, ROOTFS) };
    const key = keyOf(call);
    const last = acts.at(-1);
    if (key === undefined) continue;
    if (last && (key === last.key || isPart(call, last))) {
      last.calls.push(call);
      if (call.name === 'move_mount' && last.key === 'copy of a mount') last.key = `bind mount at ${targetOf(call)}`;
    } else acts.push({ key, calls: [call] });
  }
  return acts;
}

/** fsconfig, fsmount and move_mount go on with what fsopen or open_tree began; a remount with its mount. */
function isPart({ name, args }: TracedCall, { calls }: Act): boolean {
  const [first] = calls;
  if (['fsconfig', 'fsmount', 'move_mount', 'mount_setattr'].includes(name)) {
    const began = ['fsopen', 'open_tree'].includes(first!.name);
    return began && !(calls.some((call) => call.name === 'move_mount') && name !== 'fsconfig');
  }
  const place = (text: string) => /^"[^"]*", ("[^"]*")/.exec(text)?.[1];
  return (
    name === 'mount' && args.includes('MS_REMOUNT') && first!.name === 'mount' && place(args) === place(first!.args)
  );
}

const settings = ['NO_NEW_PRIVS', 'KEEPCAPS', 'SECUREBITS', 'SECCOMP', 'DUMPABLE'];

/** Undefined: nothing that makes the container. */
function keyOf(call: TracedCall): string | undefined {
  const { name, args } = call;
  const word = /^\w+/.exec(args)?.[0] ?? '';
  switch (name) {
    case 'clone':
    case 'clone3':
    case 'unshare':
      return /CLONE_NEW\w+/.test(args)
        ? `new namespaces${args.includes('CLONE_NEWCGROUP') ? ': cgroup' : ''}`
        : undefined;
    case 'mount':
      return mountKey(args);
    case 'fsopen':
      return `file system ${/^"([^"]*)"/.exec(args)?.[1]}`;
    case 'open_tree':
      return 'copy of a mount';
    case 'mount_setattr':
      return 'flags of a mount';
    case 'move_mount':
      return `bind mount at ${targetOf(call)}`;
    case 'mknod':
    case 'mknodat':
      return args.includes('S_IFIFO') ? undefined : `device node ${/([^/"]+)", S_IF/.exec(args)?.[1]}`;
    case 'symlink':
    case 'symlinkat':
      return `link ${/([^/"]+)"$/.exec(args)?.[1]}`;
    case 'prctl':
      if (word === 'PR_CAPBSET_DROP') return 'bounding set of capabilities';
      if (word === 'PR_CAP_AMBIENT') return 'ambient capabilities';
      return settings.some((one) => word === `PR_SET_${one}`) ? word : undefined;
    case 'prlimit64':
    case 'setrlimit':
      return /RLIMIT_\w+(?=, \{)/.test(args) ? `limit ${/RLIMIT_\w+/.exec(args)![0]}` : undefined;
    case 'seccomp':
      return word === 'SECCOMP_SET_MODE_FILTER' ? 'PR_SET_SECCOMP' : undefined;
    case 'setuid':
    case 'setresuid':
      return 'user id';
    case 'setgid':
    case 'setresgid':
      return 'group id';
    case 'bpf':
      return word === 'BPF_PROG_ATTACH' && /target_fd=\d+<[^>]*cgroup/.test(args) ? 'device rules' : undefined;
    case 'keyctl':
      return word === 'KEYCTL_JOIN_SESSION_KEYRING' ? 'session keyring' : undefined;
    case 'execve':
    case 'execveat':
      return args.includes(`${probeFolder}/probe`) ? 'the program' : undefined;
    case 'chdir':
    case 'fchdir':
      return 'working directory';
    default:
      return name;
  }
}

function mountKey(args: string): string {
  const [, source = '', target = '', type = ''] = /^"([^"]*)", "([^"]*)", (?:"([^"]*)"|\w+)/.exec(args) ?? [];
  if (/MS_(SLAVE|PRIVATE|SHARED|UNBINDABLE)/.test(args)) return 'propagation';
  if (args.includes('MS_REMOUNT')) return 'flags of a mount';
  if (args.includes('MS_BIND')) return `bind mount at ${inside(target)}`;
  if (args.includes('MS_MOVE')) return `bind mount at ${inside(target)}`;
  return `file system ${type || source}`;
}

const inside = (path: string): string => (path.startsWith(ROOTFS) ? path.slice(ROOTFS.length) || '/' : path);

const targetOf = ({ args }: TracedCall): string => inside(/^[^,]*, "[^"]*", \w+<([^>]*)>/.exec(args)?.[1] ?? '?');

/** Where each of the two does something: both here, both but at another place, one alone. */
export interface Row {
  place: 'same' | 'elsewhere' | 'ours' | 'theirs';
  key: string;
  ours?: readonly TracedCall[];
  theirs?: readonly TracedCall[];
}

/** The longest common sequence of keys stands side by side; the rest where it happened. */
export function align(ours: readonly Act[], theirs: readonly Act[]): Row[] {
  const length = lengths(ours, theirs);
  const rows: Row[] = [];
  let [i, j] = [0, 0];
  while (i < ours.length || j < theirs.length) {
    const [a, b] = [ours[i], theirs[j]];
    if (a && b && a.key === b.key) {
      rows.push({ place: 'same', key: a.key, ours: a.calls, theirs: b.calls });
      i++;
      j++;
    } else if (a && (!b || length[i + 1]![j]! >= length[i]![j + 1]!)) {
      rows.push({ place: 'ours', key: a.key, ours: a.calls });
      i++;
    } else {
      rows.push({ place: 'theirs', key: b!.key, theirs: b!.calls });
      j++;
    }
  }
  const alone = (side: Row['place']) => new Set(rows.filter(({ place }) => place === side).map(({ key }) => key));
  const [left, right] = [alone('ours'), alone('theirs')];
  return rows.map((row) =>
    row.place !== 'same' && left.has(row.key) && right.has(row.key) ? { ...row, place: 'elsewhere' } : row,
  );
}

/** length[i][j]: of the longest common sequence of what is left from i and j on. */
function lengths(ours: readonly Act[], theirs: readonly Act[]): number[][] {
  const table = Array.from({ length: ours.length + 1 }, () => new Array<number>(theirs.length + 1).fill(0));
  for (let i = ours.length - 1; i >= 0; i--)
    for (let j = theirs.length - 1; j >= 0; j--)
      table[i]![j] =
        ours[i]!.key === theirs[j]!.key ? table[i + 1]![j + 1]! + 1 : Math.max(table[i + 1]![j]!, table[i]![j + 1]!);
  return table;
}

const signs: Record<Row['place'], string> = { same: '=', elsewhere: '~', ours: '<', theirs: '>' };

/** Ends with a newline. */
export function formatRows(rows: readonly Row[], names: readonly [ours: string, theirs: string]): string {
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const lines = rows.flatMap(({ place, key, ours, theirs }) => [
    `${signs[place]} ${key}`,
    ...(ours ? [`    ${names[0].padEnd(width)}${callsText(ours)}`] : []),
    ...(theirs ? [`    ${names[1].padEnd(width)}${callsText(theirs)}`] : []),
  ]);
  const legend = `How each makes it (= both, here; ~ both, at another place; < ${names[0]} alone; > ${names[1]} alone):`;
  return `${[legend, ...lines].join('\n')}\n`;
}

/** The first call with its arguments, the others by name and number. */
function callsText([first, ...others]: readonly TracedCall[]): string {
  const counts = new Map<string, number>();
  for (const { name } of others) counts.set(name, (counts.get(name) ?? 0) + 1);
  const text = `${first!.name}(${first!.args})`;
  const more = [...counts].map(([name, count]) => (count > 1 ? `${name} ×${count}` : name));
  return [text.length > 150 ? `${text.slice(0, 149)}…` : text, ...more].join(', ');
}
