/** Rows of docs/security.md that a bundle can bring to a low-level runtime, by create and start as well as run. Decoys stand where others wrote to the host. */
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { makeDecoy, snapshot } from '../support/decoy.ts';
import { needs } from '../support/need.ts';
import { Engine, mountsBelow, scratch } from '../support/tinyctr.ts';
import { differs, ours, Runtime, runtime } from './oci-support.ts';

const id = `hostile-${process.pid}`;

describe(runtime, needs({ root: true }), () => {
  let engine: Engine;
  let oci: Runtime;
  let decoy: string;
  let before: Record<string, string>;

  beforeAll(async () => {
    engine = await new Engine().prepare();
    oci = new Runtime(engine, runtime);
  });
  beforeEach(() => {
    decoy = makeDecoy(scratch(engine));
    before = snapshot(decoy);
  });
  afterEach(() => oci.call('delete', '--force', id));
  afterAll(() => engine.remove());

  function expectUntouched(): void {
    expect(snapshot(decoy)).toEqual(before);
    expect(mountsBelow(engine.folder)).toEqual([]);
    expect(existsSync(cgroupRoot() + oci.cgroup(id))).toBe(false);
    expect(existsSync(`${oci.root}/${id}`)).toBe(false);
  }

  /** A bundle in whose root filesystem `name` is a link. Everything of it that the host could lend is a decoy. */
  function withLink(name: string, target: string): string {
    const bundle = oci.bundle('echo it ran');
    rmSync(`${bundle}/rootfs/${name}`, { recursive: true, force: true });
    symlinkSync(target, `${bundle}/rootfs/${name}`);
    mkdirSync(`${bundle}/rootfs${decoy}`, { recursive: true });
    return bundle;
  }

  describe.each([
    ['dev', 'SEC-08'],
    ['proc', 'SEC-07'],
    ['sys', 'SEC-07'],
  ])('/%s of the root filesystem is a link (%s)', (name) => {
    test.each([
      ['absolute', () => decoy],
      ['relative', () => `../../../../../../..${decoy}`],
    ])(
      '%s: run and create refuse it, and nothing of the host is touched',
      name === 'dev' ? differs(runtime, 'dev-link') : {},
      async (_, target) => {
        const bundle = withLink(name, target());
        const run = await oci.run(bundle, id);
        expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 1, stdout: '' });
        expect((await oci.create(bundle, id)).code).toBe(1);
        expectUntouched();
      },
    );
  });

  test('without a cgroup namespace, a read-only cgroup mount takes no write, and no other cgroup is in reach (SEC-11)', async () => {
    const probe =
      'cd /sys/fs/cgroup; mkdir x && echo made; (echo 0 > cgroup.procs) && echo moved; (echo 1 > ../cgroup.procs) && echo left; echo end';
    const bundle = oci.bundle(`(${probe}) 2>/dev/null`, ({ linux, mounts }) => {
      linux!.namespaces = linux!.namespaces!.filter(({ type }) => type !== 'cgroup');
      const mount = mounts!.find(({ type }) => type === 'cgroup');
      expect(mount?.options).toContain('ro');
    });
    expect(await oci.run(bundle, id)).toMatchObject({ code: 0, stdout: 'end\n' });
    expectUntouched();
  });

  test.each(['../../../x', '/../../x', '/a/../..', 'x/../../y'])(
    'cgroupsPath %j makes nothing outside of the hierarchy (SEC-23)',
    ours(
      runtime,
      'runc takes what is left without the dots: the hierarchy’s root, for whose device rules the whole machine pays (cgroup-dots)',
    ),
    async (cgroupsPath) => {
      const all = () =>
        readdirSync(cgroupRoot(), { withFileTypes: true }).filter(
          (entry) => entry.isDirectory() && /^[axy]$/.test(entry.name),
        );
      const bundle = oci.bundle('echo it ran', ({ linux }) => Object.assign(linux!, { cgroupsPath }));
      const { code, stdout, stderr } = await oci.run(bundle, id);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain('cgroupsPath');
      expect(all()).toEqual([]);
      expectUntouched();
    },
  );

  test('annotations change nothing, whatever other runtimes read in them (SEC-16, SEC-23)', async () => {
    const annotations = {
      'run.oci.systemd.subgroup': '../../x',
      'run.oci.hooks.stdout': `${decoy}/stdout`,
      'io.katacontainers.config': '/',
      'org.systemd.property.X': "'1'",
    };
    const bundle = oci.bundle('cat /proc/self/cgroup >/dev/null && echo it ran', (spec) =>
      Object.assign(spec, { annotations }),
    );
    expect(await oci.run(bundle, id)).toMatchObject({ code: 0, stdout: 'it ran\n' });
    expectUntouched();
  });
});
