import { describe, expect, it } from 'vitest';
import type { Mount } from '../../../src/core/spec/types.ts';
import { parseMount } from '../../../src/engine/mount-option.ts';
import type { RunOptions } from '../../../src/engine/options.ts';
import { parseTmpfs } from '../../../src/engine/tmpfs.ts';
import { parseVolume } from '../../../src/engine/volume.ts';
import { fakeHost, problemOf, problemsOf, specOf } from './support.ts';

const host = fakeHost();
const volume = (text: string) => parseVolume(text, host);
const mount = (text: string) => parseMount(text, host);
const anonymous = 'f'.repeat(64);
const mountsOf = (options: Partial<RunOptions> = {}): Mount[] => specOf(options).spec.mounts!;
const placesOf = (options: Partial<RunOptions> = {}) => mountsOf(options).map(({ destination }) => destination);
const at = (options: Partial<RunOptions>, place: string) =>
  mountsOf(options).find(({ destination }) => destination === place);

describe('the default mounts', () => {
  it('stand in the order in which they are made', () => {
    expect(placesOf()).toEqual([
      '/proc',
      '/dev',
      '/dev/pts',
      '/sys',
      '/sys/fs/cgroup',
      '/dev/mqueue',
      '/dev/shm',
      '/etc/resolv.conf',
      '/etc/hostname',
      '/etc/hosts',
    ]);
  });

  it('have a read-only /sys and cgroup, unless privileged', () => {
    for (const place of ['/sys', '/sys/fs/cgroup']) {
      expect(at({}, place)?.options).toContain('ro');
      expect(specOf({ privileged: true }).spec.mounts).toContainEqual(
        expect.objectContaining({ destination: place, options: ['nosuid', 'noexec', 'nodev'] }),
      );
    }
  });

  it('have 64 MiB of shared memory unless --shm-size says otherwise', () => {
    expect(at({}, '/dev/shm')?.options).toContain('size=67108864');
    expect(at({ shmSize: '0' }, '/dev/shm')?.options).toContain('size=67108864');
    expect(at({ shmSize: '1g' }, '/dev/shm')?.options).toContain('size=1073741824');
    expect(problemOf(() => mountsOf({ shmSize: 'x' }))).toContain("--shm-size 'x' is not a size");
  });

  it("bind the host's shared memory with --ipc=host", () => {
    const shm = { destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['rbind', 'rprivate'] };
    expect(at({ ipc: 'host' }, '/dev/shm')).toEqual(shm);
    expect(placesOf({ ipc: 'host' }).filter((place) => place === '/dev/shm')).toHaveLength(1);
  });

  it('bind the generated files, read-only with --read-only', () => {
    expect(at({}, '/etc/hosts')).toMatchObject({ source: '/run/c/hosts', options: ['rbind', 'rprivate'] });
    expect(at({ readOnly: true }, '/etc/hosts')?.options).toEqual(['rbind', 'ro', 'rprivate']);
    expect(at({ readOnly: true }, '/dev')?.options).not.toContain('ro');
    expect(specOf({ readOnly: true }).spec.root).toEqual({ path: '/rootfs', readonly: true });
  });
});

describe("the user's mounts", () => {
  it('come after the defaults, parents first', () => {
    const places = placesOf({ volume: ['/1:/a/b/c', '/2:/a'], tmpfs: ['/a/b'] });
    expect(places.slice(7)).toEqual(['/a', '/etc/resolv.conf', '/etc/hostname', '/etc/hosts', '/a/b', '/a/b/c']);
  });

  it('replace a default mount of the same place', () => {
    expect(placesOf({ tmpfs: ['/dev/shm:size=1m'] }).filter((place) => place === '/dev/shm')).toHaveLength(1);
    expect(at({ tmpfs: ['/dev/shm:size=1m'] }, '/dev/shm')?.options).toContain('size=1m');
    expect(at({ volume: ['/my/hosts:/etc/hosts'] }, '/etc/hosts')?.source).toBe('/my/hosts');
    expect(at({ ipc: 'host', tmpfs: ['/dev/shm'] }, '/dev/shm')?.type).toBe('tmpfs');
  });

  it('on /dev replace everything below it too', () => {
    expect(placesOf({ volume: ['/dev:/dev'] })).not.toContain('/dev/pts');
    expect(placesOf({ volume: ['/dev:/dev'] })).toContain('/dev');
    expect(placesOf({ volume: ['/devices:/devices'] })).toContain('/dev/pts');
  });

  it('have a place each', () => {
    const twice = () => mountsOf({ volume: ['/1:/a'], mount: ['type=tmpfs,dst=/a/'], tmpfs: ['/a/.'] });
    expect(problemsOf(twice)).toHaveLength(2);
  });

  it('keep the root attached to the host when they are shared or slaves', () => {
    const propagation = (word: string) => specOf({ volume: [`/1:/a:${word}`] }).spec.linux?.rootfsPropagation;
    expect(propagation('rshared')).toBe('shared');
    expect(propagation('shared')).toBe('shared');
    expect(propagation('rslave')).toBe('slave');
    expect(propagation('private')).toBeUndefined();
  });
});

describe('volumes', () => {
  const where = { type: 'bind', destination: '/b' };
  const image = { Volumes: { '/b': {}, '/c/../d': {}, '/d': {} } };

  it('are mounts of folders of the store, read-only with all below', () => {
    const source = '/volumes/data/_data';
    expect(at({ volume: ['data:/b'] }, '/b')).toEqual({ ...where, source, options: ['rbind', 'rprivate'] });
    expect(at({ volume: ['data:/b:ro'] }, '/b')?.options).toEqual(['rbind', 'rro', 'rprivate']);
    expect(at({ mount: ['src=data,dst=/b,volume-subpath=x/y'] }, '/b')?.source).toBe(`${source}/x/y`);
    expect(specOf({ volume: ['data:/b', '/x:/y'] }).volumes).toEqual([
      { volume: 'data', destination: '/b', readonly: false, copy: true, mode: 'z' },
    ]);
    expect(specOf({ volume: ['/x:/y'] }).volumes).toBeUndefined();
  });

  it('of the image are anonymous ones, each place once', () => {
    const made = specOf({}, { image }).volumes!;
    expect(made.map(({ destination }) => destination)).toEqual(['/b', '/d']);
    expect(made[0]).toEqual({
      volume: anonymous,
      anonymous: true,
      destination: '/b',
      readonly: false,
      copy: true,
      mode: '',
    });
  });

  it.each<[Partial<RunOptions>]>([
    [{ volume: ['/x:/b'] }],
    [{ volume: ['data:/b/.'] }],
    [{ tmpfs: ['/b'] }],
    [{ mount: ['type=tmpfs,dst=/b'] }],
  ])('of the image give way to %j', (options) => {
    const volumes = specOf(options, { image }).volumes ?? [];
    expect(volumes.filter(({ anonymous }) => anonymous).map(({ destination }) => destination)).toEqual(['/d']);
  });

  it.each([['data'], ['/'], ['/..'], ['']])('of the image in %j are refused', (place) => {
    const problem = problemOf(() => specOf({}, { image: { Volumes: { [place]: {} } } }));
    expect(problem).toMatch(/^the image's VOLUME: /);
  });

  it('have a place each', () => {
    expect(problemsOf(() => mountsOf({ volume: ['one:/a', 'two:/a/', '/a'] }))).toHaveLength(2);
  });
});

describe('--volume', () => {
  it.each([
    ['/a:/b', '/a', '/b', ['rbind', 'rprivate']],
    ['/a:/b/', '/a', '/b', ['rbind', 'rprivate']],
    ['/a:/b/./c/../d', '/a', '/b/d', ['rbind', 'rprivate']],
    ['./a:/b:ro', '/work/here/a', '/b', ['rbind', 'rro', 'rprivate']],
    ['.:/b:rw', '/work/here', '/b', ['rbind', 'rprivate']],
    ['../x:/b', '/work/x', '/b', ['rbind', 'rprivate']],
    ['/a:/b:rshared,ro', '/a', '/b', ['rbind', 'rro', 'rshared']],
    ['/a:/b:slave', '/a', '/b', ['rbind', 'slave']],
  ])('reads %s', (text, source, destination, options) => {
    expect(volume(text)).toEqual({ type: 'bind', source, destination, options });
  });

  it.each([
    ['data:/b', { volume: 'data', readonly: false, copy: true, mode: 'z' }],
    ['data:/b/', { volume: 'data', readonly: false, copy: true, mode: 'z' }],
    ['data:/b:ro', { volume: 'data', readonly: true, copy: true, mode: 'ro' }],
    ['data:/b:nocopy', { volume: 'data', readonly: false, copy: false, mode: 'nocopy' }],
    ['Da_t-a.1:/b:rw,copy', { volume: 'Da_t-a.1', readonly: false, copy: true, mode: 'rw,copy' }],
    ['data:/b:idmap', { volume: 'data', readonly: false, copy: true, idmap: true, mode: 'idmap' }],
    ['/b', { volume: anonymous, anonymous: true, readonly: false, copy: true, mode: '' }],
  ])('reads the volume %s', (text, expected) => {
    expect(volume(text)).toEqual({ destination: '/b', ...expected });
  });

  it.each([
    ['.hidden:/b', "'.hidden' is no name of a volume"],
    ['d:/b', "'d' is no name of a volume: 2 to 255"],
    [`${'x'.repeat(256)}:/b`, 'is no name of a volume'],
    ['-x:/b', 'is no name of a volume'],
    ['name', "'name' is not an absolute path"],
    ['..:/b:nocopy', 'copy and nocopy are for volumes'],
    ['../data:/b:copy', 'copy and nocopy are for volumes'],
    ['name:/b:rslave', "'rslave' is for paths of the host"],
    ['name:/b:copy,nocopy', 'copy and nocopy exclude'],
    ['name:b', 'not an absolute path'],
    ['name:/', 'root'],
    ['~/a:/b', 'no shell has replaced'],
    ['a/b:/c', './a/b'],
    ['/a:b', "'b' is not an absolute path"],
    ['/a:ro', "'ro' is not an absolute path"],
    ['/a:/', 'root'],
    ['/a:/..', 'root'],
    ['', 'no part empty'],
    [':/b', 'no part empty'],
    ['/a:', 'no part empty'],
    ['/a:/b:', 'no part empty'],
    ['/a:/b:ro:rw', 'not [source:]destination'],
    ['/a:/b:z', 'SELinux labels are not there yet'],
    ['/a:/b:ro,Z', 'SELinux labels are not there yet'],
    ['/a:/b:nocopy', 'for volumes'],
    ['/a:/b:cached', 'means nothing on Linux'],
    ['/a:/b:ro,rw', 'ro and rw exclude'],
    ['/a:/b:ro,ro', 'exclude'],
    ['/a:/b:shared,slave', 'shared and slave exclude'],
    ['/a:/b:readonly', "'readonly' is none of ro, rw, copy, nocopy, idmap, private"],
    ['/a:/b:ro,', "'' is none of"],
    ['/a:/b:constructor', 'is none of'],
  ])('refuses %s', (text, reason) => {
    expect(problemOf(() => volume(text))).toContain(reason);
  });
});

describe('--mount', () => {
  it.each([
    ['type=bind,src=/a,dst=/b', ['rbind', 'rprivate']],
    ['dst=/b,source=/a,type=bind', ['rbind', 'rprivate']],
    ['type=bind,source=/a,target=/b,readonly', ['rbind', 'rro', 'rprivate']],
    ['type=bind,source=/a,destination=/b,ro=true', ['rbind', 'rro', 'rprivate']],
    ['type=bind,source=/a,dst=/b,ro=0', ['rbind', 'rprivate']],
    ['type=bind,src=/a,dst=/b,bind-propagation=rshared', ['rbind', 'rshared']],
    ['type=bind,src=/a,dst=/b,bind-recursive=disabled,ro', ['bind', 'ro', 'rprivate']],
    ['type=bind,src=/a,dst=/b,bind-recursive=writable,ro', ['rbind', 'ro', 'rprivate']],
    ['type=bind,src=/a,dst=/b,bind-recursive=readonly,ro', ['rbind', 'rro', 'rprivate']],
  ])('reads %s', (text, options) => {
    expect(mount(text)).toEqual({ type: 'bind', source: '/a', destination: '/b', options });
  });

  it.each([
    ['type=volume,src=data,dst=/b', { volume: 'data', readonly: false, copy: true }],
    ['source=data,target=/b,ro', { volume: 'data', readonly: true, copy: true }],
    ['src=data,dst=/b,volume-nocopy', { volume: 'data', readonly: false, copy: false }],
    ['src=data,dst=/b,volume-nocopy=false', { volume: 'data', readonly: false, copy: true }],
    ['dst=/b', { volume: anonymous, anonymous: true, readonly: false, copy: true }],
    ['src=data,dst=/b,volume-subpath=./a//b/', { volume: 'data', readonly: false, copy: true, subpath: 'a/b' }],
    [
      'src=data,dst=/b,volume-label=k=v,volume-label=only',
      { volume: 'data', readonly: false, copy: true, labels: { k: 'v', only: '' } },
    ],
  ])('reads the volume %s', (text, expected) => {
    expect(mount(text)).toEqual({ destination: '/b', ...expected, mode: 'z' });
  });

  it('reads tmpfs with size and mode', () => {
    expect(mount('type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770,ro')).toEqual({
      destination: '/t',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['noexec', 'nosuid', 'nodev', 'ro', 'mode=1770', 'size=1048576', 'rprivate'],
    });
  });

  it('reads quoted fields', () => {
    expect(mount('type=bind,"src=/a,b ""c""",dst=/d')).toMatchObject({ source: '/a,b "c"' });
    expect(problemOf(() => mount('type=bind,"src=/a,dst=/d'))).toContain('double quote');
    expect(problemOf(() => mount('type=bind,src=/a"b",dst=/d'))).toContain('double quote');
  });

  it.each([
    ['type=volume,src=a,dst=/b', "'a' is no name of a volume"],
    ['src=/a,dst=/b', "'/a' is a path, and type=volume wants a name: give type=bind"],
    ['type=volume,src=vol', 'has no target: a mount of type volume needs it'],
    ['src=vol', 'a mount of type volume needs it'],
    ['type=volume,src=vol,dst=/b,volume-driver=nfs', 'volume-driver is refused: there are no drivers'],
    ['type=volume,src=vol,dst=/b,volume-opt=o=rw', 'volume-opt is refused: options are for drivers'],
    ['type=volume,src=vol,dst=/b,bind-propagation=shared', "'bind-propagation' is no key of type=volume"],
    ['type=volume,src=vol,dst=/b,volume-nocopy=maybe', "volume-nocopy 'maybe' is none of"],
    ['type=volume,src=vol,dst=/b,volume-label==x', 'has no key'],
    ['type=volume,src=vol,dst=/b,volume-subpath=../x', "volume-subpath '../x' is not a relative path"],
    ['type=volume,src=vol,dst=/b,volume-subpath=/x', "volume-subpath '/x' is not a relative path"],
    ['type=volume,src=vol,dst=/b,volume-subpath=.', "volume-subpath '.' is not a relative path"],
    ['type=tmpfs,dst=/b,volume-driver=x', "'volume-driver' is no key of type=tmpfs"],
    ['type=image,dst=/b', "type 'image' is none of volume, bind, tmpfs"],
    ['type=toString,dst=/b', "type 'toString' is none of"],
    ['type=bind,dst=/b', 'has no source'],
    ['type=bind,src=/a', 'has no target'],
    ['type=tmpfs', 'has no target'],
    ['type=tmpfs,src=/a,dst=/b', "'source' is no key of type=tmpfs"],
    ['type=tmpfs,dst=/b,bind-propagation=shared', 'is no key of type=tmpfs'],
    ['type=bind,src=/a,dst=/b,tmpfs-size=1m', 'is no key of type=bind'],
    ['type=bind,src=/a,dst=/b,readonyl', "the field 'readonyl' is not key=value"],
    ['type=bind,src=/a,dst=/b,readonyl=true', 'did you mean readonly'],
    ['type=bind,src=/a,dst=/b,ro=maybe', "readonly 'maybe' is none of"],
    ['type=bind,src=/a,dst=/b,ro=', "readonly '' is none of"],
    ['type=bind,src=/a,source=/b,dst=/b', 'source is given twice'],
    ['type=bind,src=/a,dst=/b,', "the field '' is not key=value"],
    ['type=bind,src=,dst=/b', "the field 'src=' is not key=value"],
    ['type=bind,src=/a,dst=b', 'not an absolute path'],
    ['type=bind,src=a,dst=/b', "'a' is no path: write ./a"],
    ['type=bind,src=/a,dst=/b,bind-propagation=public', 'is none of rprivate'],
    ['type=bind,src=/a,dst=/b,bind-recursive=readonly', 'only for a readonly mount'],
    ['type=bind,src=/a,dst=/b,bind-recursive=readonly,ro,bind-propagation=rslave', 'bind-propagation=rprivate'],
    ['type=tmpfs,dst=/b,tmpfs-mode=9', 'not an octal mode'],
    ['type=tmpfs,dst=/b,tmpfs-size=big', 'is not a size'],
    ['type=bind,src=/a,dst=/b,__proto__=1', 'is no key'],
    ['', 'is not key=value'],
  ])('refuses %s', (text, reason) => {
    expect(problemOf(() => mount(text))).toContain(reason);
  });
});

describe('--tmpfs', () => {
  it.each([
    ['/t', ['noexec', 'nosuid', 'nodev', 'rprivate']],
    ['/t:', ['noexec', 'nosuid', 'nodev', 'rprivate']],
    ['/t:size=1m', ['noexec', 'nosuid', 'nodev', 'size=1m', 'rprivate']],
    ['/t:exec,mode=700', ['nosuid', 'nodev', 'exec', 'mode=700', 'rprivate']],
    ['/t:rw,ro', ['noexec', 'nosuid', 'nodev', 'ro', 'rprivate']],
    ['/t:size=1m,size=2m,uid=5', ['noexec', 'nosuid', 'nodev', 'size=2m', 'uid=5', 'rprivate']],
    ['/t:size=50%,nr_inodes=10k', ['noexec', 'nosuid', 'nodev', 'size=50%', 'nr_inodes=10k', 'rprivate']],
  ])('reads %s', (text, options) => {
    expect(parseTmpfs(text)).toEqual({ destination: '/t', type: 'tmpfs', source: 'tmpfs', options });
  });

  it.each([
    ['t', 'not an absolute path'],
    ['', 'not an absolute path'],
    ['/', 'root'],
    ['/t:size', 'needs a number'],
    ['/t:size=-1', 'needs a number'],
    ['/t:size=1x', 'needs a number'],
    ['/t:mode=888', 'needs an octal mode'],
    ['/t:uid=root', 'needs a decimal id'],
    ['/t:noexce', 'did you mean noexec'],
    ['/t:rbind', 'is none of rw, ro'],
    ['/t:rw,,ro', "'' is none of"],
    ['/t:size=1m:ro', 'needs a number'],
    ['/t:toString=1', 'is none of'],
  ])('refuses %s', (text, reason) => {
    expect(problemOf(() => parseTmpfs(text))).toContain(reason);
  });
});
