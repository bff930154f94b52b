import { describe, expect, it } from 'vitest';
import type { RunOptions } from '../../../src/engine/options.ts';
import { fakeHost, problemOf, problemsOf, specOf } from './support.ts';

const typesOf = (options: Partial<RunOptions> = {}) => specOf(options).spec.linux?.namespaces?.map(({ type }) => type);
const sysctlsOf = (options: Partial<RunOptions> = {}) => specOf(options).spec.linux?.sysctl;
const defaults = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' };

describe('--userns', () => {
  const env = { SUDO_UID: '1234', SUDO_GID: '1235' };
  const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
  const idMaps = { uid: map, gid: map };
  const withMaps = (options: Partial<RunOptions>) =>
    specOf({ userns: 'auto', ...options }, { idMaps, host: fakeHost({ env }) });

  it('auto is a new user namespace with the maps, and groups that may ping are those that there are', () => {
    const { linux } = withMaps({}).spec;
    expect(linux).toMatchObject({ uidMappings: map, gidMappings: map });
    expect(linux!.namespaces![0]).toEqual({ type: 'user' });
    expect(linux!.sysctl!['net.ipv4.ping_group_range']).toBe('0 65535');
  });

  it('keep-id runs as the caller, unless --user says otherwise', () => {
    expect(withMaps({ userns: 'keep-id' }).user).toBe('1234:1235');
    expect(withMaps({ userns: 'keep-id', user: '7' }).user).toBe('7');
    expect(problemOf(() => specOf({ userns: 'keep-id' }))).toContain('the caller is root');
  });

  it('binds what a user namespace can’t mount', () => {
    const at = (path: string, options: Partial<RunOptions>) =>
      specOf({ userns: 'auto', ...options }, { idMaps, host: fakeHost({ files: { '/sys': '' } }) }).spec.mounts!.find(
        ({ destination }) => destination === path,
      );
    expect(at('/sys', { network: 'host' })).toMatchObject({ type: 'bind', source: '/sys' });
    expect(at('/sys', {})).toMatchObject({ type: 'sysfs' });
    expect(at('/dev/mqueue', { ipc: 'host' })).toBeUndefined(); // the host has none
  });

  it('host is no user namespace', () => expect(typesOf({ userns: 'host' })).not.toContain('user'));

  it('says everything that does not go with it', () => {
    expect(problemsOf(() => specOf({ userns: 'auto', privileged: true, pid: 'host', cgroupns: 'host' }))).toHaveLength(
      3,
    );
    expect(problemOf(() => specOf({ userns: 'auto:size=5' }))).toContain('not there yet');
    expect(problemOf(() => specOf({ userns: '' }))).toContain('unknown');
  });
});

describe('namespaces', () => {
  const all = ['mount', 'network', 'uts', 'pid', 'ipc', 'cgroup'];

  it('are all new by default', () => {
    expect(typesOf()).toEqual(all);
    expect(typesOf({ network: 'none', ipc: 'private' })).toEqual(all);
  });

  it.each([
    ['network', 'network'],
    ['pid', 'pid'],
    ['ipc', 'ipc'],
    ['uts', 'uts'],
  ] as const)('--%s=host drops its own', (option, type) => {
    expect(typesOf({ [option]: 'host' })).toEqual(all.filter((name) => name !== type));
    expect(specOf({ [option]: 'host' }).hostNamespaces[option]).toBe(true);
  });

  it.each([
    ['network', 'bridge', 'none or host is allowed'],
    ['network', '', 'none or host is allowed'],
    ['network', 'container:x', 'none or host is allowed'],
    ['pid', 'container:x', 'host is allowed'],
    ['ipc', 'shareable', 'private or host is allowed'],
    ['uts', 'private', 'host is allowed'],
  ] as const)('--%s=%s is not there yet', (option, value, allowed) => {
    expect(problemOf(() => typesOf({ [option]: value }))).toBe(`--${option} '${value}' is not there yet: ${allowed}`);
  });

  it('exclude what makes no sense with them', () => {
    expect(problemOf(() => typesOf({ uts: 'host', hostname: 'x' }))).toContain('--hostname and --uts=host');
    expect(problemOf(() => typesOf({ ipc: 'host', shmSize: '1m' }))).toContain('--shm-size and --ipc=host');
    expect(problemOf(() => typesOf({ pid: 'host', init: true }))).toContain('--init and --pid=host');
  });
});

describe('the host name', () => {
  it('is the short id, or what is given', () => {
    expect(specOf()).toMatchObject({ hostname: '0123456789ab', spec: { hostname: '0123456789ab' } });
    expect(specOf({ hostname: 'web.example' })).toMatchObject({ hostname: 'web.example' });
  });

  it("is the host's with --network=host and --uts=host", () => {
    expect(specOf({ network: 'host' }).spec.hostname).toBe('host1');
    expect(specOf({ network: 'host', hostname: 'own' }).spec.hostname).toBe('own');
    const shared = specOf({ uts: 'host' });
    expect(shared.spec).not.toHaveProperty('hostname');
    expect(shared.hostname).toBe('host1');
    expect(shared.spec.process?.env).toContain('HOSTNAME=host1');
  });
});

describe('--sysctl', () => {
  it("adds to docker's defaults, which the host's network and an old kernel don't get", () => {
    expect(sysctlsOf()).toEqual(defaults);
    expect(sysctlsOf({ network: 'host' })).toEqual({});
    expect(specOf({}, { host: { ...fakeHost(), exists: () => false } }).spec.linux?.sysctl).toEqual({});
    expect(sysctlsOf({ sysctl: ['net.ipv4.ip_unprivileged_port_start=1024'] })).toEqual({
      ...defaults,
      'net.ipv4.ip_unprivileged_port_start': '1024',
    });
  });

  it.each([
    ['kernel.shmmax=1', 'kernel.shmmax', '1'],
    ['kernel.sem=32000\t1024000000 500 32000', 'kernel.sem', '32000\t1024000000 500 32000'],
    ['fs.mqueue.msg_max=100', 'fs.mqueue.msg_max', '100'],
    ['net.ipv4.conf.br-Lan.forwarding=1', 'net.ipv4.conf.br-Lan.forwarding', '1'],
  ])('takes %j', (text, key, value) => {
    expect(sysctlsOf({ sysctl: [text] })).toEqual({ ...defaults, [key]: value });
  });

  it.each([
    ['kernel.core_pattern=|/x', 'would change the host: only these'],
    ['kernel.domainname=x', 'would change the host: only these'],
    ['kernel.shm=1', 'would change the host: only these'],
    ['user.max_user_namespaces=0', 'would change the host: only these'],
    ['fs.mqueue=1', 'would change the host: only these'],
    ['kernel.hostname=x', 'use --hostname'],
    ['net/ipv4/ip_forward=1', 'is not a sysctl name'],
    ['net..ipv4=1', 'is not a sysctl name'],
    ['net.ipv4/../../kernel.core_pattern=x', 'is not a sysctl name'],
    ['net.=1', 'is not a sysctl name'],
    ['net=1', 'is not a sysctl name'],
    ['=1', 'is not a sysctl name'],
    ['', 'is not a sysctl name'],
    [' net.a=1', 'is not a sysctl name'],
    ['net.a', 'has no value'],
    ['net.a=', 'has no value'],
    ['net.a=1\n2', 'has no value'],
  ])('refuses %j', (text, reason) => {
    expect(problemOf(() => sysctlsOf({ sysctl: [text] }))).toContain(reason);
  });

  it('refuses what belongs to a namespace shared with the host', () => {
    expect(problemOf(() => sysctlsOf({ network: 'host', sysctl: ['net.ipv4.ip_forward=1'] }))).toContain('network');
    expect(problemsOf(() => sysctlsOf({ ipc: 'host', sysctl: ['kernel.sem=1', 'fs.mqueue.x=1'] }))).toHaveLength(2);
    expect(sysctlsOf({ network: 'host', sysctl: ['kernel.shmmni=9'] })).toEqual({ 'kernel.shmmni': '9' });
  });
});
