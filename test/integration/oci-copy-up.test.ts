/** tmpcopyup: a tmpfs that begins with the image's files. */
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { runProgram, until } from '../support/tinyctr.ts';
import { Runtime, runtimes } from './oci-support.ts';

const tmpfs = (destination: string, ...options: string[]) => ({
  ...{ destination, type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', ...options] },
});

describe.each(runtimes)('%s', needs({ root: true }), (name) => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(name);
  });

  afterAll(() => oci.end());

  /** `fill` gets the folder of the image. */
  function bundle(script: string, fill: (rootfs: string) => void, change: (spec: Spec) => void): string {
    const path = oci.bundle(script, change);
    fill(`${path}/rootfs`);
    return path;
  }

  test('files, folders, links, owners and modes are there; writing leaves the image as it was', async () => {
    const fill = (rootfs: string) => {
      mkdirSync(`${rootfs}/data/deep/er`, { recursive: true });
      writeFileSync(`${rootfs}/data/deep/er/file`, 'text\n');
      chmodSync(`${rootfs}/data/deep/er/file`, 0o4751);
      chownSync(`${rootfs}/data/deep`, 12, 34);
      chmodSync(`${rootfs}/data/deep`, 0o715);
      symlinkSync('/etc/passwd', `${rootfs}/data/link`);
      writeFileSync(`${rootfs}/data/-odd name\n`, '');
    };
    const script = `cd /data; cat deep/er/file; stat -c "%a %u %g" deep deep/er/file; readlink link; ls | wc -l; echo new > deep/er/file; stat -f -c %T .`;
    const path = bundle(script, fill, (spec) => spec.mounts!.push(tmpfs('/data', 'mode=0755')));
    const { code, stdout, stderr } = await oci.run(path, 'copy');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe('text\n715 12 34\n4751 0 0\n/etc/passwd\n3\ntmpfs\n');
    expect(readFileSync(`${path}/rootfs/data/deep/er/file`, 'utf8')).toBe('text\n');
  });

  test('a folder that the image does not have is an empty tmpfs', async () => {
    const path = bundle(
      'ls -A /none | wc -l',
      () => undefined,
      (spec) => {
        spec.root!.readonly = false;
        spec.mounts!.push(tmpfs('/none'));
      },
    );
    expect(await oci.run(path, 'none')).toMatchObject({ code: 0, stdout: '0\n' });
  });

  test('links of the image lead nowhere outside: not on the way to the folder, not in it', async () => {
    const outside = `${oci.engine.folder}/outside`;
    mkdirSync(outside, { recursive: true });
    writeFileSync(`${outside}/secret`, 'secret');
    const fill = (rootfs: string) => {
      mkdirSync(`${rootfs}/data`);
      symlinkSync(outside, `${rootfs}/data/folder`);
      symlinkSync(`${outside}/secret`, `${rootfs}/data/file`);
      mkdirSync(`${rootfs}${outside}`, { recursive: true });
      writeFileSync(`${rootfs}${outside}/own`, 'own');
      symlinkSync(outside, `${rootfs}/way`);
    };
    const path = bundle('ls /way; readlink /data/folder; readlink /data/file; cat /data/file 2>&1', fill, (spec) =>
      spec.mounts!.push(tmpfs('/data'), tmpfs('/way')),
    );
    const { stdout } = await oci.run(path, 'links');
    expect(stdout).toContain(`own\n${outside}\n${outside}/secret\n`);
    expect(stdout).not.toMatch(/^secret$/m);
    expect(existsSync(`${outside}/own`)).toBe(false);
  });
});

describe('tinyctr-oci', needs({ root: true }), () => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare('tinyctr-oci');
  });

  afterAll(() => oci.end());

  const filled = (script: string, change: (spec: Spec) => void) => {
    const path = oci.bundle(script, change);
    mkdirSync(`${path}/rootfs/data/sub`, { recursive: true });
    writeFileSync(`${path}/rootfs/data/file`, 'x'.repeat(100_000));
    writeFileSync(`${path}/rootfs/data/sub/file`, 'image');
    chmodSync(`${path}/rootfs/data`, 0o711);
    return path;
  };

  test('extended attributes and hard links are kept', needs({ command: 'python3' }), async () => {
    const script =
      'cd /data; stat -c "%h %i" file sub/same link sub/link; echo more >> file; tail -c5 sub/same; sleep 100';
    const path = filled(script, (spec) => spec.mounts!.push(tmpfs('/data')));
    const image = `${path}/rootfs/data`;
    linkSync(`${image}/file`, `${image}/sub/same`);
    symlinkSync('/etc/passwd', `${image}/link`);
    linkSync(`${image}/link`, `${image}/sub/link`);
    chownSync(`${image}/file`, 12, 34);
    chmodSync(`${image}/file`, 0o666);
    const attributes = [
      ['sub/file', 'security.capability', '0100000200040000000000000000000000000000'], // cap_net_bind_service=ep
      ['file', 'trusted.note', '00ff'],
      ['sub', 'trusted.note', '61'],
      ['.', 'trusted.note', ''],
      ['link', 'trusted.note', '62'],
    ];
    const set = `import os, sys
for name, key, value in zip(*[iter(sys.argv[2:])] * 3):
    os.setxattr(sys.argv[1] + "/" + name, key, bytes.fromhex(value), follow_symlinks=False)`;
    expect(await runProgram('python3', ['-c', set, image, ...attributes.flat()])).toMatchObject({ stderr: '' });
    const created = await oci.create(path, 'kept', '--pid-file', `${path}/pid`);
    expect(created.code, created.output()).toBe(0);
    await oci.call('start', 'kept');
    await until('its word', () => created.output().endsWith('more\n'));
    const [file, same, link, other] = created.output().split('\n');
    expect([file, link]).toEqual([expect.stringMatching(/^2 /), expect.stringMatching(/^2 /)]);
    expect([same, other]).toEqual([file, link]);
    const get = `import os, sys
for name in ["sub/file", "file", "sub", ".", "link"]:
    for key in sorted(os.listxattr(sys.argv[1] + "/" + name, follow_symlinks=False)):
        print(name, key, os.getxattr(sys.argv[1] + "/" + name, key, follow_symlinks=False).hex())`;
    const data = `/proc/${readFileSync(`${path}/pid`, 'utf8')}/root/data`;
    const found = await runProgram('python3', ['-c', get, data]);
    await oci.call('delete', '--force', 'kept');
    expect(found.stdout).toBe(attributes.map((words) => `${words.join(' ')}\n`).join(''));
    expect(readFileSync(`${image}/file`, 'utf8')).toHaveLength(100_000);
  });

  test('without mode= the tmpfs has the mode of the folder', async () => {
    const path = filled('stat -c %a /data', (spec) => spec.mounts!.push(tmpfs('/data')));
    expect((await oci.run(path, 'mode')).stdout).toBe('711\n');
  });

  test('a mount below it stays as it is, on the host as well', async () => {
    const host = `${oci.engine.folder}/host`;
    mkdirSync(host);
    const path = filled('ls /data /data/sub', (spec) =>
      spec.mounts!.push(tmpfs('/data'), { destination: '/data/sub', type: 'bind', source: host, options: ['bind'] }),
    );
    expect((await oci.run(path, 'below')).stdout).toBe('/data:\nfile\nsub\n\n/data/sub:\n');
    expect(existsSync(`${host}/file`)).toBe(false);
  });

  test('a mount that covers it stays as it is', async () => {
    const host = `${oci.engine.folder}/cover`;
    mkdirSync(host);
    const path = filled('ls /data', (spec) =>
      spec.mounts!.push(tmpfs('/data'), { destination: '/data', type: 'bind', source: host, options: ['bind'] }),
    );
    expect(await oci.run(path, 'covered')).toMatchObject({ code: 0, stdout: '' });
    expect(existsSync(`${host}/file`)).toBe(false);
  });

  test('of a tmpfs that is read-only, and of what is bound above it', async () => {
    const host = `${oci.engine.folder}/above`;
    mkdirSync(`${host}/sub`, { recursive: true });
    writeFileSync(`${host}/sub/bound`, '');
    const path = filled('ls /data/sub; touch /data/sub/x 2>&1; ls /mnt', (spec) => {
      spec.mounts!.push(tmpfs('/data', 'ro'), { destination: '/mnt', type: 'bind', source: host, options: ['bind'] });
      spec.mounts!.push(tmpfs('/mnt/sub'), tmpfs('/mnt/sub/none'));
    });
    expect((await oci.run(path, 'read-only')).stdout).toBe('file\ntouch: /data/sub/x: Read-only file system\nsub\n');
  });

  test('in a user namespace the files are its own', async () => {
    const path = filled('stat -c %u /data /data/file; touch /data/new && stat -c %u /data/new', (spec) => {
      const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      spec.linux!.namespaces!.push({ type: 'user' });
      Object.assign(spec.linux!, { uidMappings: ids, gidMappings: ids });
      spec.mounts!.push(tmpfs('/data'));
    });
    await runProgram('chown', ['-R', '-h', '100000:100000', `${path}/rootfs`]);
    await runProgram('chmod', ['755', oci.engine.folder, path]);
    const { code, stdout, stderr } = await oci.run(path, 'mapped');
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: '0\n0\n0\n' });
  });

  test('a tmpfs that is too small is an error with its pointer, and nothing is left', async () => {
    const path = filled('echo ran', (spec) => spec.mounts!.push(tmpfs('/data', 'size=8k')));
    const { code, stdout, stderr } = await oci.run(path, 'small');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain("can't copy what is in /data: it is more than the tmpfs may hold");
    expect(stderr).toMatch(/\/mounts\/\d+/);
    expect(await oci.status('small')).toContain('container does not exist');
  });
});
