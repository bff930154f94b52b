/**
 * What mounts of config.json mean to runc and crun beyond the words of their options: flags that nobody named, id maps in an
 * option, links that lead nowhere yet. Host side; it only reads.
 */
import { closeSync, fstatSync, readlinkSync } from 'node:fs';
import { rawSyscall, syscall } from '../core/host/syscall.ts';
import { IN_ROOT } from '../core/init/resolve.ts';
import * as k from '../core/kernel/constants.ts';
import { E } from '../core/kernel/errno.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { openHow } from '../core/kernel/structs.ts';
import type { IdMapping, Mount } from '../core/spec/types.ts';
import type { Spec } from '../spec/types.ts';

export const isBind = ({ type, options = [] }: Mount): boolean =>
  type === 'bind' || options.some((option) => option === 'bind' || option === 'rbind');

/** Without `r`: those act on this mount alone, and are what a remount would set. */
const flags = ['ro', 'rw', 'nosuid', 'suid', 'nodev', 'dev', 'noexec', 'exec', 'nosymfollow', 'symfollow'];
const accessTimes = ['relatime', 'noatime', 'strictatime', 'nodiratime'];
/** They take away what another one sets; by themselves they change nothing, as with mount(8). */
const timesAsTheyAre = ['atime', 'norelatime', 'nostrictatime', 'diratime'];

/**
 * A bind mount without flags has those of its source. With one, those that are not named are cleared, access times excepted: they
 * change when one of them is named. In a user namespace what may be locked stays: the container's root could not clear it either.
 * As runc has it since 1.2 ("mount(8)-like behaviour").
 */
export function withUnnamedFlags(mount: Mount, mayBeLocked: boolean): Mount {
  const { options = [] } = mount;
  const named = (list: readonly string[]) => options.some((option) => list.includes(option));
  if (!isBind(mount) || options.includes('remount') || !named([...flags, ...accessTimes, ...timesAsTheyAre]))
    return mount;
  const cleared = [...(mayBeLocked ? [] : ['rw', 'suid', 'dev', 'exec']), 'symfollow'];
  const times = named(accessTimes) ? ['relatime', 'diratime'] : [];
  return { ...mount, options: [...cleared, ...times, ...options.filter((option) => !timesAsTheyAre.includes(option))] };
}

/** PROC_USER_INIT_INO: the user namespace that no mount came into from another. */
export const inFirstUserNamespace = (): boolean => readlinkSync('/proc/self/ns/user') === 'user:[4026531837]';

/** crun's `idmap=uids=CONTAINER-HOST-SIZE#…;gids=…`, as the mount's own maps. @throws ContainerError */
export function withInlineMaps(mount: Mount, index: number): Mount {
  const option = mount.options?.find((option) => /^r?idmap=/.test(option));
  if (!option) return mount;
  const [, name, text] = /^(r?idmap)=(.*)$/s.exec(option) as unknown as [string, string, string];
  const parts = new Map(text.split(';').map((part) => part.split('=', 2) as [string, string]));
  const maps = ['uids', 'gids'].map((key) => parts.get(key)?.split('#').map(parseMap));
  const [uidMappings, gidMappings] = maps;
  if (parts.size !== 2 || !uidMappings || !gidMappings || [...uidMappings, ...gidMappings].includes(undefined))
    throw new ContainerError(
      `mount option ${JSON.stringify(option)}: allowed is ${name}=uids=CONTAINER-HOST-SIZE#…;gids=CONTAINER-HOST-SIZE#…`,
      { specPointer: `/mounts/${index}/options` },
    );
  const options = mount.options!.map((one) => (one === option ? name : one));
  return { ...mount, options, uidMappings: uidMappings as IdMapping[], gidMappings: gidMappings as IdMapping[] };
}

function parseMap(text: string): IdMapping | undefined {
  const [containerID, hostID, size] = /^\d{1,10}-\d{1,10}-\d{1,10}$/.test(text) ? text.split('-').map(Number) : [];
  return size === undefined ? undefined : { containerID: containerID!, hostID: hostID!, size };
}

/**
 * In a user namespace that shares the host's network namespace no new sysfs may be mounted: the host's is bound in its place,
 * read-only with all below it, as crun has it. Only where it was to be read-only.
 */
export function sysAsBind(mount: Mount, { linux }: Spec): Mount {
  const isNew = (wanted: string) => linux?.namespaces?.some(({ type, path }) => type === wanted && !path);
  if (mount.type !== 'sysfs' || !mount.options?.includes('ro')) return mount;
  if (!isNew('user') || linux?.namespaces?.some(({ type }) => type === 'network')) return mount;
  const options = mount.options.map((option) => (option === 'ro' ? 'rro' : option));
  return { ...mount, type: 'bind', source: '/sys', options: ['rbind', 'rslave', ...options] };
}

/** Source: path_resolution(7), MAXSYMLINKS. */
const MOST_LINKS = 40;

/**
 * Destinations that lead through a link to nothing, by the path that the link names: there the mount point is made. What the image
 * has is looked at, so not below another mount. The kernel resolves the new path as it would the old, inside the root.
 */
export function throughLinks(mounts: readonly Mount[], rootfs: string): readonly Mount[] {
  const root = rawSyscall('openat', k.AT_FDCWD, Buffer.from(`${rootfs}\0`), k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC, 0);
  if (root < 0) return mounts; // nobody may look, or there is none: who needs it will say so
  const above = (path: string, at: number) =>
    mounts.slice(0, at).some(({ destination }) => destination !== '/' && path.startsWith(`${destination}/`));
  try {
    return mounts.map((mount, i) => {
      if (
        ['proc', 'sysfs'].includes(mount.type ?? '') ||
        mount.options?.includes('remount') ||
        above(mount.destination, i)
      )
        return mount;
      if (!isMissing(root, mount.destination)) return mount;
      const destination = landing(root, mount.destination);
      return destination === undefined ? mount : { ...mount, destination };
    });
  } finally {
    closeSync(root);
  }
}

function open(root: number, path: string, flags: number): number {
  const how = openHow(k.O_PATH | k.O_CLOEXEC | flags, 0, IN_ROOT);
  return rawSyscall('openat2', root, Buffer.from(`${path}\0`), how, how.length);
}

function isMissing(root: number, path: string): boolean {
  const fd = open(root, path, 0);
  if (fd >= 0) closeSync(fd);
  return fd === -E.ENOENT;
}

/** The path without links; undefined where there are none, or too many. */
function landing(root: number, path: string): string | undefined {
  let rest = path.split('/').filter(Boolean);
  let done: string[] = [];
  for (let links = 0; rest.length > 0; ) {
    const name = rest.shift()!;
    if (name === '..') done.pop();
    else if (name !== '.') done.push(name);
    const target = linkAt(root, `/${done.join('/')}`);
    if (target === undefined) continue;
    if (++links > MOST_LINKS) return undefined;
    done = target.startsWith('/') ? [] : done.slice(0, -1);
    rest = [...target.split('/').filter(Boolean), ...rest];
  }
  const found = `/${done.join('/')}`;
  return found === path ? undefined : found;
}

function linkAt(root: number, path: string): string | undefined {
  const fd = open(root, path, k.O_NOFOLLOW);
  if (fd < 0) return undefined;
  try {
    if (!fstatSync(fd).isSymbolicLink()) return undefined;
    const text = Buffer.alloc(4096);
    return text.toString('utf8', 0, syscall('readlinkat', [fd, '', text, text.length]));
  } finally {
    closeSync(fd);
  }
}
