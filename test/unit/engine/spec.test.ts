import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { defaultDeviceRules } from '../../../src/core/plan/device-rules.ts';
import type { RunOptions } from '../../../src/engine/options.ts';
import type { Spec } from '../../../src/spec/types.ts';
import { needs } from '../../support/need.ts';
import { device, fakeHost, problemsOf, specOf } from './support.ts';

describe('containerSpec', () => {
  it('makes the default container', () => {
    const { spec, ...rest } = specOf();
    expect(spec).toMatchObject({
      ociVersion: '1.3.0',
      root: { path: '/rootfs', readonly: false },
      process: { terminal: false, user: { uid: 0, gid: 0 }, args: ['sh'], cwd: '/', noNewPrivileges: false },
    });
    expect(Object.keys(spec.linux!.resources!)).toEqual(['devices']);
    expect(spec.linux).not.toHaveProperty('rootfsPropagation');
    expect(rest).toEqual({
      user: '',
      groupAdd: [],
      hostname: '0123456789ab',
      seccomp: 'default',
      init: false,
      stopSignal: undefined,
      labels: {},
      hostNamespaces: { network: false, pid: false, ipc: false, uts: false, cgroup: false },
    });
  });

  it('passes on what is looked up or used elsewhere', () => {
    const options = { user: '1000:audio', groupAdd: ['29', 'video'], init: true, label: ['a=b', 'c', 'a=d'] };
    expect(specOf({ ...options, stopSignal: 'quit' }, { terminal: true })).toMatchObject({
      user: '1000:audio',
      groupAdd: ['29', 'video'],
      init: true,
      stopSignal: 3,
      labels: { a: 'd', c: '' },
      spec: { process: { terminal: true } },
    });
  });

  it("reads the image's user and stop signal, which options replace", () => {
    const image = { User: 'nobody', StopSignal: 'SIGINT', Cmd: ['x'] };
    expect(specOf({}, { image })).toMatchObject({ user: 'nobody', stopSignal: 2 });
    expect(specOf({ user: 'root', stopSignal: '9' }, { image })).toMatchObject({ user: 'root', stopSignal: 9 });
    const bad = () => specOf({}, { image: { User: '0:', StopSignal: 'NO' } });
    expect(problemsOf(bad)).toEqual([
      expect.stringContaining("the image's User '0:'"),
      expect.stringContaining("the image's StopSignal 'NO'"),
    ]);
  });

  it('reads nothing else of an image (SEC-16)', () => {
    const hostile = {
      Cmd: ['sh'],
      Labels: { 'io.tinyctr.privileged': 'true' },
      Healthcheck: { Test: ['CMD', 'x'] },
      Hostname: 'evil',
      NetworkDisabled: false,
      Memory: 1,
      HostConfig: { Privileged: true, Binds: ['/:/host'] },
    };
    expect(specOf({}, { image: hostile })).toEqual(specOf({}, { image: { Cmd: ['sh'] } }));
  });

  it('reports everything that is wrong at once', () => {
    const wrong: Partial<RunOptions> = {
      ...{ name: '/', user: '', hostname: '-', network: 'bridge', workdir: 'x', cidfile: '', stopSignal: 'X' },
      ...{ memory: '1', cpus: 'x', shmSize: 'x', env: ['=x'], envFile: ['gone'], volume: ['v:/x'], mount: ['x'] },
      ...{ tmpfs: ['x'], groupAdd: [''], ulimit: ['x'], device: ['x'], capAdd: ['X'], capDrop: ['X'] },
      ...{ securityOpt: ['x'], sysctl: ['x'], dns: ['x'], addHost: ['x'], label: ['='], pid: 'x', ipc: 'x', uts: 'x' },
      ...{ cpuShares: 'x', pidsLimit: 'x' },
    };
    const problems = problemsOf(() => specOf(wrong, { command: [] }));
    // One problem for each option, and the missing command.
    expect(problems).toHaveLength(Object.keys(wrong).length + 1);
    expect(new Set(problems).size).toBe(problems.length);
    for (const problem of problems) expect(problem).not.toContain('\n');
  });

  it('does not share its parts between two containers', () => {
    const first = specOf().spec;
    first.process!.capabilities!.bounding!.push('CAP_SYS_ADMIN');
    for (const list of [first.linux!.maskedPaths!, first.linux!.readonlyPaths!]) list.length = 0;
    for (const mount of first.mounts!) mount.options!.push('changed');
    for (const rule of first.linux!.resources!.devices!) rule.access = 'changed';
    for (const mount of first.mounts!) expect(mount.options!.filter((word) => word === 'changed')).toHaveLength(1);
    expect(first.process!.capabilities!.effective).toHaveLength(14);
    const second = specOf().spec;
    expect(second.process!.capabilities!.bounding).toHaveLength(14);
    expect(second.linux!.readonlyPaths).toHaveLength(5);
    expect(JSON.stringify(second)).not.toContain('changed');
  });
});

/** What docker 20.10 wrote for the same options, where such files are at hand; the tests above pin the same values. */
const recorded = new URL('../../../../shared/data/configs/', import.meta.url);

describe('compared with docker', needs({ file: fileURLToPath(recorded) }), () => {
  const read = (name: string): Spec =>
    JSON.parse(readFileSync(new URL(`docker-run-${name}.config.json`, recorded), 'utf8'));
  const sortedOptions = (spec: Spec) =>
    Object.fromEntries(
      spec.mounts!.map(({ destination, type, options, source }) => [
        destination,
        { type, source: destination.startsWith('/etc/') ? '' : source, options: [...options!].sort() },
      ]),
    );
  /** Paths that docker has hidden only since that recording. */
  const newer = ['/proc/interrupts', '/sys/devices/virtual/powercap'];

  it.each([
    ['i', {}, {}],
    ['tty', {}, { terminal: true }],
    ['hostns', { network: 'host', pid: 'host', ipc: 'host', uts: 'host' }, {}],
    ['privileged', { privileged: true }, {}],
  ] as const)('%s: mounts, namespaces, paths, environment', (name, options, changes) => {
    const theirs = read(name);
    const hostname = theirs.process!.env!.find((entry) => entry.startsWith('HOSTNAME='))!.slice(9);
    const host = { ...fakeHost({ devices: { '/dev': [device('/dev/fuse')] } }), hostname };
    const ours = specOf(options, { ...changes, host, id: hostname }).spec;
    expect(sortedOptions(ours)).toEqual(sortedOptions(theirs));
    expect(ours.mounts!.map(({ destination }) => destination).slice(0, 6)).toEqual(
      theirs.mounts!.map(({ destination }) => destination).slice(0, 6),
    );
    const types = (spec: Spec) => spec.linux!.namespaces!.map(({ type }) => type);
    // docker joins a namespace by path for the host's network, where we leave it out.
    expect(types(ours)).toEqual(types(theirs).filter((type) => name !== 'hostns' || type !== 'network'));
    expect(ours.process!.env).toEqual(theirs.process!.env);
    expect(ours.linux!.readonlyPaths).toEqual(theirs.linux!.readonlyPaths);
    const masked = ours.linux!.maskedPaths?.filter((path) => !newer.includes(path));
    expect(masked?.sort()).toEqual(theirs.linux!.maskedPaths?.sort());
    const listed = theirs.process!.capabilities!.bounding!;
    if (name !== 'privileged') expect([...ours.process!.capabilities!.bounding!].sort()).toEqual([...listed].sort());
    expect(ours.linux!.sysctl).toEqual(theirs.linux!.sysctl ?? {});
    expect(ours.linux!.resources!.devices![0]).toEqual(theirs.linux!.resources!.devices![0]);
  });

  it('many options: the same parts', () => {
    const host = fakeHost({ devices: { '/dev/fuse': [device('/dev/fuse', { fileMode: 0o20600, gid: 0 })] } });
    const ours = specOf(
      {
        ...{ hostname: 'h1', env: ['X=1'], workdir: '/tmp', user: '1000', readOnly: true, shmSize: '8m' },
        ...{ capDrop: ['ALL'], capAdd: ['NET_RAW'], ulimit: ['core=0', 'nofile=100:200'], device: ['/dev/fuse'] },
        ...{ securityOpt: ['no-new-privileges'], sysctl: ['net.ipv4.ip_forward=0'], tmpfs: ['/run:size=1m'] },
        ...{ mount: ['type=bind,src=/srv/clients/work/vol,dst=/v,ro,bind-recursive=writable'] },
      },
      { host },
    ).spec;
    const theirs = read('many');
    const { '/sbin/docker-init': _, ...mounts } = sortedOptions(theirs);
    expect(sortedOptions(ours)).toEqual(mounts);
    const { env, cwd, rlimits, noNewPrivileges } = theirs.process!;
    expect(ours.process).toMatchObject({ env, cwd, noNewPrivileges });
    expect(new Set(ours.process!.rlimits)).toEqual(new Set(rlimits));
    expect(ours.process!.capabilities!.bounding).toEqual(theirs.process!.capabilities!.bounding);
    expect(ours.linux!.devices).toEqual(theirs.linux!.devices);
    // docker leaves part of its list to runc, as we do all of it to the plan, and denies fuse, which nothing before that allows.
    const [, ...theirRules] = theirs.linux!.resources!.devices!;
    const all = [...ours.linux!.resources!.devices!, ...defaultDeviceRules];
    expect(all).toEqual(expect.arrayContaining(theirRules.filter(({ allow }) => allow)));
    expect(ours.linux!.sysctl).toEqual(theirs.linux!.sysctl);
    expect(ours.root!.readonly).toBe(true);
  });
});
