import { describe, expect, it } from 'vitest';
import type { RunOptions } from '../../../src/engine/options.ts';
import { problemOf, problemsOf, specOf } from './support.ts';

const plan = (options: Partial<RunOptions>) => specOf(options);

describe('--isolation', () => {
  it('container is what run does without it', () => expect(plan({ isolation: 'container' })).toEqual(plan({})));

  it('namespaces has all namespaces, and none of the other walls', () => {
    const { spec, seccomp } = plan({ isolation: 'namespaces' });
    expect(spec.linux?.namespaces).toEqual(plan({}).spec.linux?.namespaces);
    expect(seccomp).toBe('unconfined');
    expect(spec.linux).not.toHaveProperty('maskedPaths');
    expect(spec.process?.capabilities?.bounding).toHaveLength(41);
    expect(spec.linux?.devices).toEqual([]);
  });

  it('chroot has a mount namespace', () =>
    expect(plan({ isolation: 'chroot' }).spec.linux?.namespaces).toEqual([{ type: 'mount' }]));

  it('an unknown rung is an error', () =>
    expect(problemOf(() => plan({ isolation: 'hyperv' }))).toBe(
      "--isolation 'hyperv' is unknown: chroot, namespaces or container is allowed",
    ));

  const ofWalls: Partial<RunOptions>[] = [
    ...[{ memory: '64m' }, { cpus: '1' }, { pidsLimit: '10' }, { deviceReadBps: ['/dev/sda:1m'] }],
    ...[{ capAdd: ['CHOWN'] }, { capDrop: ['ALL'] }, { privileged: true }, { securityOpt: ['seccomp=unconfined'] }],
    ...[{ device: ['/dev/fuse'] }, { deviceCgroupRule: ['c 1:3 r'] }, { userns: 'auto' }],
  ];
  it.each(ofWalls)('%j means nothing below a container', (option) => {
    for (const isolation of ['chroot', 'namespaces'])
      expect(problemOf(() => plan({ isolation, ...option }))).toContain(`means nothing with --isolation=${isolation}`);
  });

  const ofNamespaces: Partial<RunOptions>[] = [
    ...[{ network: 'none' }, { pid: 'host' }, { ipc: 'private' }, { uts: 'host' }, { cgroupns: 'private' }],
    ...[{ init: true }, { hostname: 'x' }, { sysctl: ['kernel.shm_rmid_forced=1'] }, { shmSize: '1m' }],
  ];
  it.each(ofNamespaces)('%j means nothing in a chroot, and something with namespaces', (option) => {
    expect(problemOf(() => plan({ isolation: 'chroot', ...option }))).toContain('means nothing');
    expect(() => plan({ isolation: 'namespaces', ...option })).not.toThrow();
  });

  it('options of files, user and environment stay', () => {
    const options = {
      readOnly: true,
      user: '7',
      env: ['A=b'],
      workdir: '/tmp',
      tmpfs: ['/scratch'],
      ulimit: ['nofile=9'],
    };
    expect(plan({ isolation: 'chroot', ...options })).toMatchObject({ user: '7', spec: { root: { readonly: true } } });
  });

  it('all that is wrong is told at once', () =>
    expect(problemsOf(() => plan({ isolation: 'chroot', memory: '1m', init: true, hostname: 'x' }))).toHaveLength(3));
});
