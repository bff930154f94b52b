/** The container's mounts: docker's default ones, the generated files of /etc, and the user's own over them. Pure. */
import type { Mount } from '../core/spec/types.ts';
import type { ImageConfig } from '../image/config.ts';
import { bindMount, checkDestination } from './bind.ts';
import { parseMount } from './mount-option.ts';
import type { HostNamespaces } from './namespaces.ts';
import type { HostReaders, RunOptions } from './options.ts';
import { parseSize } from './sizes.ts';
import { parseTmpfs } from './tmpfs.ts';
import type { Problems } from './usage-error.ts';
import { parseVolume } from './volume.ts';
import { bindVolume, type VolumeMount } from './volume-mount.ts';

/** Host paths of the files made for this container, bound over those of the image. */
export interface EtcFiles {
  hosts: string;
  hostname: string;
  resolvConf: string;
}

const defaultShmBytes = 64 * 1024 ** 2;

/** What a program finds on any Linux: parents come before what is mounted in them. */
function systemMounts(privileged: boolean, shmBytes: number): Mount[] {
  const plain = ['nosuid', 'noexec', 'nodev'];
  const guarded = privileged ? plain : [...plain, 'ro'];
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: [...plain] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: guarded },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...guarded] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: [...plain] },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...plain, 'mode=1777', `size=${shmBytes}`],
    },
  ];
}

function etcMounts(files: EtcFiles, readonly: boolean): Mount[] {
  const places: [string, string][] = [
    ['/etc/resolv.conf', files.resolvConf],
    ['/etc/hostname', files.hostname],
    ['/etc/hosts', files.hosts],
  ];
  return places.map(([destination, source]) =>
    // Files have no mounts below them: plain `ro` is enough.
    bindMount({ source, destination, readonly, propagation: 'rprivate', recursive: 'writable' }),
  );
}

/** --shm-size in bytes; 0 means the default, as in docker. @throws UsageError */
function shmBytes(text: string | undefined): number {
  return (text === undefined ? 0 : parseSize('--shm-size', text)) || defaultShmBytes;
}

/** The user's, and the volumes of the image where the user has nothing else. */
function userMounts({ options, image, host }: MountsInput, problems: Problems): (Mount | VolumeMount)[] {
  const mounts = [
    ...problems.each(options.volume, (text) => parseVolume(text, host)),
    ...problems.each(options.mount, (text) => parseMount(text, host)),
    ...problems.each(options.tmpfs, parseTmpfs),
  ];
  const seen = new Set<string>();
  for (const { destination } of mounts) {
    if (seen.has(destination)) problems.add(`two mounts have the same place in the container: ${destination}`);
    seen.add(destination);
  }
  const places = problems.each(Object.keys(image.Volumes ?? {}), (text) =>
    checkDestination("the image's VOLUME", text),
  );
  const free = [...new Set(places)].filter((place) => !seen.has(place));
  const made = { anonymous: true, readonly: false, copy: true, mode: '' } as const;
  return [...mounts, ...free.map((destination) => ({ volume: host.volumeName(), destination, ...made }))];
}

function depth(mount: Mount): number {
  return mount.destination.split('/').length;
}

/** `over` in place of those of `under` with the same destination; a mount on /dev replaces all that is below it. */
function overlay(under: readonly Mount[], over: readonly Mount[]): Mount[] {
  const taken = new Set(over.map(({ destination }) => destination));
  const inDev = ({ destination }: Mount) => taken.has('/dev') && destination.startsWith('/dev/');
  return under.filter((mount) => !taken.has(mount.destination) && !inDev(mount));
}

/** A user namespace can mount a sysfs and a message queue of its own namespaces only; the host's are bound. */
function fromHost(mount: Mount, shared: HostNamespaces, host: HostReaders): Mount[] {
  const { destination, options = [] } = mount;
  const hosts = (destination === '/sys' && shared.network) || (destination === '/dev/mqueue' && shared.ipc);
  if (hosts && !host.exists(destination)) return [];
  return [
    hosts ? { destination, type: 'bind', source: destination, options: ['bind', 'rprivate', ...options] } : mount,
  ];
}

export interface MountsInput {
  options: RunOptions;
  image: Pick<ImageConfig, 'Volumes'>;
  /** The folder where volumes are. */
  volumes: string;
  files: EtcFiles;
  host: HostReaders;
  namespaces: HostNamespaces;
  /** In a user namespace of its own. */
  mapped: boolean;
}

/** All mounts in the order of mounting: the system's, then the others, parents before what lies below them; and which are volumes. */
export function mounts(input: MountsInput, problems: Problems): { mounts: Mount[]; volumes: VolumeMount[] } {
  const { options, files, host, namespaces } = input;
  const asked = userMounts(input, problems);
  const volumes = asked.filter((mount) => 'volume' in mount);
  const user = asked.map((mount) => ('volume' in mount ? bindVolume(mount, input.volumes) : mount));
  const idmapped = user.find((mount) => mount.options?.includes('idmap'));
  if (idmapped && !input.mapped)
    problems.add(`${idmapped.destination} is to be idmapped, which means something with --userns only`);
  const size = problems.attempt(() => shmBytes(options.shmSize), defaultShmBytes);
  const hostShm = { source: '/dev/shm', destination: '/dev/shm', readonly: false, propagation: 'rprivate' };
  const generated = etcMounts(files, options.readOnly === true);
  if (namespaces.ipc) generated.push(bindMount({ ...hostShm, recursive: 'enabled' }));
  const others = [...overlay(generated, user), ...user].sort((a, b) => depth(a) - depth(b));
  const system = systemMounts(options.privileged === true, size);
  const made = input.mapped ? system.flatMap((mount) => fromHost(mount, namespaces, host)) : system;
  return { mounts: [...overlay(made, others), ...others], volumes };
}
