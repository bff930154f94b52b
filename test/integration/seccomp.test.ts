/** Compiled filters, loaded: what the kernel makes of them, and whether runc builds the same ones. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultSeccompProfile } from '../../src/engine/seccomp-profile.ts';
import { compiledFilter } from '../../src/seccomp/cache.ts';
import { compileFilter } from '../../src/seccomp/compile.ts';
import type { Seccomp } from '../../src/spec/types.ts';
import { ARCH, verdict } from '../support/bpf.ts';
import { needs } from '../support/need.ts';

const source = new URL('../support/seccomp-probe.c', import.meta.url).pathname;
const capabilities = ['CAP_CHOWN', 'CAP_KILL', 'CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_SYS_CHROOT'];
const getpid = process.arch === 'arm64' ? '172' : '39';
const onX64 =
  process.arch === 'x64' ? needs({}) : { skip: true, meta: { skipReason: 'the numbers are those of x86-64' } };
let scratch: string;
let probe: string;

beforeAll(() => {
  scratch = mkdtempSync(`${tmpdir()}/tinyctr-seccomp-`);
  probe = `${scratch}/seccomp-probe`;
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** Loads the filter of a profile in a process of its own and makes the calls: "NR[,ARG…]" to errno, and the signal. */
function run(profile: Seccomp, calls: string[]): { errnos: Record<string, number>; signal: string | null } {
  const { program, loadFlags } = compileFilter(profile);
  const file = `${scratch}/filter.bpf`;
  writeFileSync(file, program);
  const { status, signal, stdout, stderr } = spawnSync(probe, ['call', file, String(loadFlags), ...calls]);
  if (signal === null) expect(`${status} ${stderr}`).toBe('0 ');
  const lines = String(stdout).trim().split('\n').filter(Boolean);
  const errnos = Object.fromEntries(lines.map((line) => line.split(' ')).map(([call, errno]) => [call, Number(errno)]));
  return { errnos, signal };
}

describe('in the kernel', needs({ command: 'cc' }), () => {
  beforeAll(() => {
    execFileSync('cc', ['-static', '-O1', '-Wall', '-Wextra', '-Werror', '-o', probe, source]);
  });

  const withCloneFlags = (flags: number) => `56,${flags}`;
  const EPERM = 1;
  const ENOSYS = 38;
  const table: [what: string, call: string, errno: number][] = [
    ['getpid', '39', 0],
    ['mount', '165', EPERM],
    ['umount2', '166', EPERM],
    ['clone3', '435', ENOSYS],
    ['unshare(CLONE_NEWUSER)', '272,0x10000000', EPERM],
    ['clone(CLONE_NEWUSER)', withCloneFlags(0x10000011), EPERM],
    ['personality(0xffffffff)', '135,0xffffffff', 0],
    ['personality(0)', '135,0', 0],
    ['personality(1)', '135,1', EPERM],
    ['socket(AF_INET, SOCK_STREAM)', '41,2,1', 0],
    ['socket(AF_ALG, SOCK_SEQPACKET)', '41,38,5', EPERM],
    ['socket(AF_ALG) with a high bit', '41,0x100000026,5', EPERM],
    ['socket(AF_VSOCK, SOCK_STREAM)', '41,40,1', EPERM],
    ['bpf', '321', EPERM],
    ['keyctl', '250', EPERM],
    ['io_uring_setup', '425', EPERM],
    ['a number that nothing has', '999', ENOSYS],
    ['an x32 number that nothing has', '0x400003e7', ENOSYS],
    ['close(-1), allowed', '3,0xffffffff', 9],
  ];

  test("Docker's default profile", onX64, () => {
    const { errnos } = run(
      defaultSeccompProfile(capabilities),
      table.map(([, call]) => call),
    );
    const named = table.map(([what, call]) => [what, errnos[call]]);
    expect(named).toEqual(table.map(([what, , errno]) => [what, errno]));
  });

  describe('with CAP_SYS_ADMIN', needs({ root: true, capability: 'CAP_SYS_ADMIN' }), () => {
    test('the calls that it stands for reach the kernel', onX64, () => {
      const { errnos } = run(defaultSeccompProfile([...capabilities, 'CAP_SYS_ADMIN']), ['165', '272,0', '435']);
      expect(errnos).toEqual({ 165: 14, '272,0': 0, 435: 22 }); // EFAULT and EINVAL are the kernel's own answers
    });
  });

  test.each(['SCMP_ACT_KILL', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_TRAP'])(
    '%s is SIGSYS',
    (action) => {
      const profile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['getpid'], action }] };
      expect(run(profile, [getpid])).toEqual({ errnos: {}, signal: 'SIGSYS' });
    },
  );

  test.each([
    ['SCMP_ACT_ERRNO', 77, 77],
    ['SCMP_ACT_ERRNO', undefined, EPERM],
    ['SCMP_ACT_TRACE', undefined, ENOSYS], // nobody traces
    ['SCMP_ACT_LOG', undefined, 0],
  ])('%s %s', (action, errnoRet, errno) => {
    const rule = { names: ['getpid'], action, ...(errnoRet === undefined ? {} : { errnoRet }) };
    expect(run({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }, [getpid]).errnos).toEqual({ [getpid]: errno });
  });

  test('the kernel takes all flags together', () => {
    const flags = ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'];
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      flags,
      syscalls: [{ names: ['getpid'], action: 'SCMP_ACT_ERRNO' }],
    };
    expect(run(profile, [getpid]).errnos).toEqual({ [getpid]: EPERM });
  });

  describe('against runc', needs({ root: true, command: ['runc', 'unshare'] }), () => {
    const rules = (action: string, ...names: string[]) => ({ names, action });
    const profiles: [string, Seccomp][] = [
      ["Docker's default", defaultSeccompProfile(capabilities)],
      [
        'comparisons of every kind',
        {
          defaultAction: 'SCMP_ACT_ERRNO',
          architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
          syscalls: [
            rules('SCMP_ACT_ALLOW', ...defaultSeccompProfile(capabilities).syscalls![0]!.names),
            ...['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((op, index) => ({
              ...rules('SCMP_ACT_ALLOW', ['acct', 'swapon', 'swapoff', 'reboot', 'syslog', 'setns', 'kcmp'][index]!),
              args: [{ index: 1, value: 38, valueTwo: 6, op: `SCMP_CMP_${op}` }],
            })),
            { ...rules('SCMP_ACT_ERRNO', 'quotactl', 'nfsservctl'), errnoRet: 99 },
            {
              ...rules('SCMP_ACT_ALLOW', 'personality'),
              args: [0, 38].map((value) => ({ index: 0, value, op: 'SCMP_CMP_EQ' })),
            },
          ],
        },
      ],
      ['x86-64 alone', { ...defaultSeccompProfile(capabilities), architectures: ['SCMP_ARCH_X86_64'] }],
      [
        'a default of kill',
        { ...defaultSeccompProfile(capabilities), defaultAction: 'SCMP_ACT_KILL_PROCESS', defaultErrnoRet: undefined! },
      ],
      ['all allowed but one', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rules('SCMP_ACT_TRAP', 'add_key')] }],
    ];

    test.each(profiles)('%s: the filter is the same in effect', onX64, (_name, profile) => {
      const defined = JSON.parse(JSON.stringify(profile)) as Seccomp;
      const theirs = filterOfRunc(defined);
      const ours = compileFilter(defined).program;
      const differences: string[] = [];
      for (const call of allCalls()) {
        const [our, their] = [verdict(ours, call), verdict(theirs, call)];
        if (our !== their) differences.push(`${JSON.stringify(call)}: ${our}, runc ${their}`);
      }
      expect(differences).toEqual([]);
    });

    test("Docker's default: a container's calls end alike", onX64, () => {
      const calls = table.map(([, call]) => call);
      const out = inRunc(defaultSeccompProfile(capabilities), ['call', '-', '0', ...calls], 'runc run probe');
      const errnos = Object.fromEntries(
        out
          .trim()
          .split('\n')
          .map((line) => line.split(' ')),
      );
      expect(table.map(([what, call]) => [what, Number(errnos[call])])).toEqual(
        table.map(([what, , errno]) => [what, errno]),
      );
    });
  });
});

function* allCalls() {
  const numbers = [...Array(600).keys(), 999, 0x3fffffff, 0x7fffffff];
  const x32 = numbers.map((nr) => (nr | 0x40000000) >>> 0);
  for (const value of [0, 6, 37, 38, 39, 70, 0xffffffff, 0x1_0000_0026]) {
    const args = [value, value];
    for (const nr of [...numbers, ...x32]) yield { nr, arch: ARCH.x64, args };
    for (const nr of numbers) yield { nr, arch: ARCH.i386, args };
    yield { nr: 0, arch: ARCH.arm64, args };
  }
}

/** What runc loads for a profile, read back from its container by ptrace. */
function filterOfRunc(profile: Seccomp): Buffer {
  const script = [
    'runc run -d --pid-file pid probe </dev/null >/dev/null 2>log || { cat log >&2; exit 1; }',
    "trap 'runc delete -f probe' EXIT",
    '../seccomp-probe dump $(cat pid) > runc.bpf',
  ];
  inRunc(profile, ['pause'], script.join('\n'));
  const program = readFileSync(`${scratch}/bundle/runc.bpf`);
  expect(program.length).toBeGreaterThan(0);
  return program;
}

/** A bundle whose only file is the probe; `script` runs in it, where cgroup v2 is all there is. */
function inRunc(seccomp: Seccomp, args: string[], script: string): string {
  const bundle = `${scratch}/bundle`;
  rmSync(bundle, { recursive: true, force: true });
  mkdirSync(`${bundle}/rootfs`, { recursive: true });
  copyFileSync(probe, `${bundle}/rootfs/seccomp-probe`);
  execFileSync('runc', ['spec'], { cwd: bundle });
  const config = JSON.parse(readFileSync(`${bundle}/config.json`, 'utf8'));
  const sets = { bounding: capabilities, effective: capabilities, permitted: capabilities };
  Object.assign(config.process, {
    terminal: false,
    args: ['/seccomp-probe', ...args],
    capabilities: sets,
    rlimits: [],
  });
  Object.assign(config.linux, { seccomp, resources: undefined });
  writeFileSync(`${bundle}/config.json`, JSON.stringify(config));
  const view = 'mount --make-rprivate /; umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup';
  const runc = `runc() { command runc --root ${scratch}/runc "$@"; }`;
  return execFileSync('unshare', ['-m', 'bash', '-c', `set -e\n${view}\n${runc}\n${script}`], {
    cwd: bundle,
    encoding: 'utf8',
  });
}

describe('the cache', needs({ root: true }), () => {
  const profile: Seccomp = {
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW' }],
  };
  const nobody = 65534;

  test('compiles again what belongs to somebody else', () => {
    const folder = `${scratch}/cache`;
    const fresh = compiledFilter(profile, folder);
    const path = `${folder}/${readdirSync(folder)[0]}`;
    const file = readFileSync(path);
    file[file.length - 2]! ^= 1; // the returned action, in both halves: whole in form
    file[file.length / 2 - 2]! ^= 1;
    writeFileSync(path, file);
    expect(compiledFilter(profile, folder).program.equals(fresh.program)).toBe(false);
    chownSync(path, nobody, nobody);
    expect(compiledFilter(profile, folder)).toEqual(fresh);
    expect(statSync(path).uid).toBe(0);
  });

  test('refuses a folder that belongs to somebody else', () => {
    const folder = `${scratch}/theirs`;
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, nobody, nobody);
    const error = `${folder} belongs to uid 65534, mode 0700: compiled seccomp filters are kept only where nobody but uid 0 can write`;
    expect(() => compiledFilter(profile, folder)).toThrow(error);
    expect(readdirSync(folder)).toEqual([]);
  });
});
