/** Two looks at a process, told as what has changed between them; and one look told as a whole. Pure. */
import type { MountInfo } from '../core/host/mountinfo.ts';
import type { KernelView } from './kernel-view.ts';

/** What it is about, and a line each; a line may begin with + or -. */
export interface Told {
  topic: string;
  lines: string[];
}

/** Paths below the container's root begin with ROOTFS, and ids are cut, so that lines stay short. */
export type Shorten = (text: string) => string;

export const shortenFor =
  (target: string): Shorten =>
  (text) =>
    text.replaceAll(target, 'ROOTFS').replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1…');

export function changes(before: KernelView, now: KernelView, short: Shorten): Told[] {
  const told: Told[] = [
    { topic: 'namespaces', lines: namespaceChanges(before, now) },
    { topic: 'mounts', lines: mountChanges(before, now, short) },
    { topic: 'hostname', lines: changed(before.hostname, now.hostname) },
    { topic: 'cgroup', lines: changed(short(before.cgroup), short(now.cgroup)) },
    { topic: 'root', lines: changed(short(before.root), short(now.root)) },
    { topic: 'cwd', lines: changed(short(before.cwd), short(now.cwd)) },
    { topic: 'ids', lines: changed(idsText(before), idsText(now)) },
    { topic: 'capabilities', lines: capabilityChanges(before, now) },
    { topic: 'no_new_privs', lines: changed(onOff(before.noNewPrivileges), onOff(now.noNewPrivileges)) },
    { topic: 'seccomp', lines: changed(onOff(before.seccomp), onOff(now.seccomp)) },
  ];
  return told.filter(({ lines }) => lines.length > 0);
}

export function wholeView(view: KernelView, short: Shorten): Told[] {
  const sets = Object.entries(view.capabilities).map(([set, names]) => `${set}: ${capabilitiesText(names)}`);
  const namespaces = Object.entries(view.namespaces).map(
    ([name, { id, ofHost }]) => `${name.padEnd(7)}${id}${ofHost ? '  the host’s' : ''}`,
  );
  return [
    { topic: 'namespaces', lines: namespaces },
    { topic: 'mounts', lines: view.mounts.map((mount) => mountText(mount, short)) },
    { topic: 'hostname', lines: [view.hostname] },
    { topic: 'cgroup', lines: [short(view.cgroup)] },
    { topic: 'root', lines: [short(view.root)] },
    { topic: 'cwd', lines: [short(view.cwd)] },
    { topic: 'ids', lines: [idsText(view)] },
    { topic: 'capabilities', lines: sets },
    { topic: 'no_new_privs', lines: [onOff(view.noNewPrivileges)] },
    { topic: 'seccomp', lines: [onOff(view.seccomp)] },
  ];
}

const onOff = (on: boolean): string => (on ? 'on' : 'off');
const changed = (before: string, now: string): string[] => (before === now ? [] : [`${before} → ${now}`]);

function idsText({ ids: { uid, gid, groups } }: KernelView): string {
  const one = (all: number[]) => [...new Set(all)].join(' ');
  return `uid ${one(uid)}, gid ${one(gid)}, groups ${groups.join(' ') || 'none'}`;
}

function namespaceChanges(before: KernelView, now: KernelView): string[] {
  const all = Object.entries(now.namespaces).filter(([name, { id }]) => before.namespaces[name]!.id !== id);
  return all.map(([name, { id, ofHost }]) => `+ ${name.padEnd(7)}${id}${ofHost ? '  the host’s' : ''}`);
}

const plain = (name: string): string => name.replace('CAP_', '').toLowerCase();

function capabilitiesText(names: readonly string[]): string {
  return names.length === 0 ? 'none' : `${names.length}: ${names.map(plain).join(' ')}`;
}

function capabilityChanges(before: KernelView, now: KernelView): string[] {
  return Object.entries(now.capabilities).flatMap(([set, names]) => {
    const old = before.capabilities[set as keyof KernelView['capabilities']];
    const gone = old.filter((name) => !names.includes(name));
    const come = names.filter((name) => !old.includes(name));
    const counts = `${set} ${old.length} → ${names.length}`;
    return [
      ...(gone.length > 0 ? [`- ${counts}: ${names.length === 0 ? 'none left' : gone.map(plain).join(' ')}`] : []),
      ...(come.length > 0 ? [`+ ${counts}: ${come.map(plain).join(' ')}`] : []),
    ];
  });
}

/** rw and relatime are what a mount has that nobody asked for. */
function mountText({ mountPoint, fstype, root, options }: MountInfo, short: Shorten): string {
  const asked = options.filter((option) => option !== 'rw' && option !== 'relatime').join(',');
  const bind = root === '/' || root.includes(':[') ? '' : ` of ${short(root)}`;
  return `${short(mountPoint)}  ${fstype}${bind}${asked ? ` ${asked}` : ''}`;
}

const propagation = ({ optionalFields }: MountInfo): string =>
  optionalFields.map((field) => field.split(':')[0]).join(' ') || 'private';

/** In one namespace a mount keeps its number; a new namespace has a copy of each. */
function mountChanges(before: KernelView, now: KernelView, short: Shorten): string[] {
  if (before.namespaces.mnt!.id !== now.namespaces.mnt!.id) {
    const known = new Set(before.mounts.map(({ mountPoint }) => mountPoint));
    const come = now.mounts.filter(({ mountPoint }) => !known.has(mountPoint));
    return [`a copy of the ${known.size} that were there`, ...come.map((mount) => `+ ${mountText(mount, short)}`)];
  }
  const old = new Map(before.mounts.map((mount) => [mount.id, mount]));
  const numbers = new Set(now.mounts.map(({ id }) => id));
  const gone = before.mounts.filter(({ id }) => !numbers.has(id));
  const come = now.mounts.filter(({ id }) => !old.has(id));
  const both = now.mounts.flatMap((mount) => {
    const was = old.get(mount.id);
    return was ? [{ was, mount }] : [];
  });
  const moved = both.filter(({ was, mount }) => was.mountPoint !== mount.mountPoint);
  const other = both.filter(
    ({ was, mount }) => was.mountPoint === mount.mountPoint && mountText(was, short) !== mountText(mount, short),
  );
  const passing = both.filter(({ was, mount }) => propagation(was) !== propagation(mount));
  const kinds = new Set(passing.map(({ was, mount }) => `${propagation(was)} → ${propagation(mount)}`));
  return [
    ...come.map((mount) => `+ ${mountText(mount, short)}`),
    ...other.map(({ mount }) => `+ ${mountText(mount, short)}, changed`),
    ...movedText(moved, short),
    ...goneText(gone, short),
    ...[...kinds].map((kind) => `propagation ${kind}`),
  ];
}

function movedText(moved: readonly { was: MountInfo; mount: MountInfo }[], short: Shorten): string[] {
  if (moved.length < 4)
    return moved.map(({ was, mount }) => `${short(was.mountPoint)} is ${short(mount.mountPoint)} now`);
  const top = moved.reduce((a, b) => (a.mount.mountPoint.length <= b.mount.mountPoint.length ? a : b));
  return [`${moved.length} have moved: ${short(top.was.mountPoint)} is ${short(top.mount.mountPoint)} now`];
}

function goneText(gone: readonly MountInfo[], short: Shorten): string[] {
  if (gone.length < 4) return gone.map((mount) => `- ${mountText(mount, short)}`);
  return [`- ${gone.length} are out of reach: ${gone.map(({ mountPoint }) => short(mountPoint)).join(' ')}`];
}
