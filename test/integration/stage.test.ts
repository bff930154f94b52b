/** The real stage: its birth, its calls, and what happens when either end dies. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, fchmodSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, writeSync } from 'node:fs';
import { constants as os, release } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import { reap, sendSignal } from '../../src/core/host/child.ts';
import { type SpawnedStage, spawnStage } from '../../src/core/host/spawn.ts';
import { nativeFolder, syscall } from '../../src/core/host/syscall.ts';
import { memfd, SocketWire, sealedProgram, socketPair } from '../../src/core/host/wire.ts';
import * as k from '../../src/core/kernel/constants.ts';
import { SyscallError } from '../../src/core/kernel/error.ts';
import { type SyscallName, syscallNumbers } from '../../src/core/kernel/syscalls.ts';
import { type Arg, decodeReply, encodeFrame } from '../../src/core/stage/protocol.ts';
import { type HostFd, Stage, StageFd, StageGone } from '../../src/core/stage/stage.ts';
import { needs } from '../support/need.ts';
import { Pipe, startParent, until } from './stage-support.ts';

const numberOf = syscallNumbers(process.arch);
const inNamespaces = k.CLONE_NEWNS | k.CLONE_NEWPID | k.CLONE_NEWUTS;
const IDLE_PSS_KB = 300;
const F_SETFD = 2;

interface Born extends SpawnedStage {
  stage: Stage;
  stdout: Pipe;
  containerPid: number;
}

let born: Born[] = [];

/** A stage with a pipe as standard output; ended and reaped after the test, whatever it did. */
function spawn(namespaces: number = inNamespaces): Born {
  const stdout = new Pipe();
  const input = openSync('/dev/null', 'r+') as HostFd;
  const spawned = spawnStage({ namespaces, stdio: [input, stdout.write, 2 as HostFd] });
  closeSync(input);
  stdout.closeWrite();
  const one = { ...spawned, stdout, containerPid: spawned.wire.handshake(), stage: new Stage(spawned.wire) };
  born.push(one);
  return one;
}

afterEach(() => {
  for (const { pidfd, wire, stdout } of born) {
    sendSignal(pidfd, os.signals.SIGKILL);
    try {
      reap(pidfd, 0);
    } catch {} // the test did
    wire.close();
    stdout.close();
    closeSync(pidfd);
  }
  born = [];
});

/** One call as a frame of its own. */
function exchange(wire: SocketWire, name: SyscallName, args: Arg[], more: { serveFd?: number; fds?: HostFd[] } = {}) {
  const call = {
    nr: numberOf(name),
    args,
    tolerated: [],
    ...(more.serveFd === undefined ? {} : { serveFd: more.serveFd }),
  };
  const answer = wire.exchange(encodeFrame([call], more.fds?.length ?? 0).bytes, more.fds ?? []);
  return answer && decodeReply(answer.reply);
}

const statusOf = (pid: number | 'self', field: string): string =>
  new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
const failureOf = (act: () => unknown): SyscallError => {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(SyscallError);
    return error as SyscallError;
  }
  throw new Error('nothing failed');
};

describe('the stage', needs({ root: true, capability: 'CAP_SYS_ADMIN' }), () => {
  describe('its birth', () => {
    test('says hello from its own pid namespace', () => {
      const { containerPid, hostPid, wire } = spawn();
      expect(containerPid).toBe(1);
      expect(statusOf(hostPid, 'NSpid')).toBe(`${hostPid}\t1`);
      expect(exchange(wire, 'getpid', [])).toMatchObject({ version: 1, pid: 1, failed: false, results: [1] });
      for (const [type, own] of [
        ['uts', false],
        ['pid', false],
        ['mnt', false],
        ['ipc', true],
        ['net', true],
      ] as const) {
        const [theirs, ours] = [hostPid, 'self'].map((pid) => readlinkSync(`/proc/${pid}/ns/${type}`));
        expect([type, theirs === ours]).toEqual([type, own]);
      }
    });

    test('runs from a sealed memfd, not from a file of the host (SEC-01)', () => {
      const { hostPid, stage } = spawn();
      expect(readlinkSync(`/proc/${hostPid}/exe`)).toBe('/memfd:stage (deleted)');
      expect(() => openSync(`/proc/${hostPid}/exe`, 'r+')).toThrow('ETXTBSY');
      stage.mount('proc', '/proc', 'proc', 0, null);
      const inside = () => stage.exists(stage.openat2(k.AT_FDCWD, '/proc/1/exe', k.O_WRONLY, 0));
      expect(failureOf(inside).code).toBe('ETXTBSY');
    });

    test('that memfd can be neither written nor made non-executable', (context) => {
      const [major = 0, minor = 0] = release().split('.').map(Number);
      const old = major < 6 || (major === 6 && minor < 3);
      context.skip(old, 'F_SEAL_EXEC is there since Linux 6.3');
      const fd = sealedProgram('probe', readFileSync(`${nativeFolder}/stage`));
      expect(() => writeSync(fd, 'x', 0)).toThrow('EPERM');
      expect(() => fchmodSync(fd, 0o600)).toThrow('EPERM');
      for (const size of [0, 1 << 20]) expect(() => syscall('ftruncate', [fd, size])).toThrow('EPERM');
      closeSync(fd);
    });

    test('gets nothing of the caller’s but 0, 1, 2 and its socket (SEC-02)', () => {
      const strays = Array.from({ length: 18 }, () => openSync('/', 'r'));
      for (const fd of strays) syscall('fcntl', [fd, F_SETFD, 0]); // as left open by whoever started us
      const { hostPid } = spawn();
      const inherited = execFileSync('/bin/ls', ['/proc/self/fd'], { encoding: 'utf8' });
      for (const fd of strays) closeSync(fd);
      expect(inherited.split('\n')).toEqual(expect.arrayContaining(strays.map(String)));
      expect(readdirSync(`/proc/${hostPid}/fd`).sort()).toEqual(['0', '1', '2', '3']);
      expect(readlinkSync(`/proc/${hostPid}/fd/3`)).toMatch(/^socket:/);
    });

    test('is small while it waits', () => {
      const { hostPid } = spawn();
      const pss = Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${hostPid}/smaps_rollup`, 'utf8'))![1]);
      expect(pss).toBeGreaterThan(0);
      expect(pss).toBeLessThan(IDLE_PSS_KB);
    });
  });

  describe('its calls', () => {
    test('a queued call that fails is named with its step, and ends the frame', () => {
      const { stage } = spawn();
      stage.chdir('/');
      stage.step({ id: 'probe', why: 'a test' });
      stage.fchdir(new StageFd(77));
      stage.step({ id: 'later', why: 'never reached' });
      stage.chdir('/proc');
      const error = failureOf(() => stage.flush());
      const call = 'fchdir(77)';
      expect(error.facts).toEqual({ syscall: 'fchdir', call, errno: 9, side: 'stage', step: 'probe' });
      expect([error.code, error.message]).toEqual(['EBADF', 'fchdir(77) = -1 EBADF (bad file descriptor)']);
      expect(stage.getcwd()).toBe('/');
    });

    test('while somebody watches, the line of a call that fails is in the stack', () => {
      const { stage } = spawn();
      stage.observer = () => {};
      stage.chdir('/');
      const here = new Error();
      const error = failureOf(() => stage.fchdir(new StageFd(77)));
      const line = (stack: string) => Number(/stage\.test\.ts:(\d+)/.exec(stack)![1]);
      expect(line(error.stack!)).toBe(line(here.stack!) + 1);
    });

    test('a tolerated errno does not, and what it would have opened does not exist', () => {
      const { stage } = spawn();
      const missing = stage.openat2(k.AT_FDCWD, '/no/such/file', k.O_RDONLY, 0, ['ENOENT']);
      const there = stage.openat2(k.AT_FDCWD, '/', k.O_PATH, 0, ['ENOENT']);
      stage.chdir('/proc');
      expect([stage.exists(missing), missing.number, stage.exists(there)]).toEqual([false, -2, true]);
      expect(stage.getcwd()).toBe('/proc');
      const other = () => stage.exists(stage.openat2(k.AT_FDCWD, '/no/such/file', k.O_RDONLY, 0, ['ELOOP']));
      expect(failureOf(other).code).toBe('ENOENT');
    });

    test('act in its namespaces alone', () => {
      const { stage, hostPid } = spawn();
      const before = readFileSync('/proc/self/mountinfo', 'utf8');
      stage.mount('', '/', null, k.MS_SLAVE | k.MS_REC, null);
      stage.mount('probe', '/mnt', 'tmpfs', 0, null);
      stage.sethostname('probe');
      stage.flush();
      expect(readFileSync(`/proc/${hostPid}/mountinfo`, 'utf8')).toMatch(/ \/mnt .* tmpfs probe /);
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before);
      expect(readFileSync('/proc/sys/kernel/hostname', 'utf8')).not.toContain('probe');
    });

    test('descriptors go both ways', () => {
      const { stage, hostPid } = spawn();
      const pipe = new Pipe();
      const [first, second] = stage.receive_fds([pipe.write, pipe.write]);
      stage.write(first!, 'there ');
      stage.write(second!, 'and ');
      const comm = stage.openat2(k.AT_FDCWD, '/proc/self/comm', k.O_RDONLY, 0);
      const back = stage.send_fd(comm);
      expect(stage.received).toEqual([back]);
      const bytes = Buffer.alloc(16);
      const fromStage = bytes.toString('utf8', 0, readSync(back, bytes));
      pipe.closeWrite();
      for (const fd of [first!, second!]) stage.close(fd);
      stage.flush();
      expect([pipe.readAll(), fromStage]).toEqual(['there and ', readFileSync(`/proc/${hostPid}/comm`, 'utf8')]);
      closeSync(back);
      pipe.close();
    });

    test('sixteen descriptors at once, not one more', () => {
      const { stage } = spawn();
      const fds = Array.from({ length: 16 }, () => 2 as HostFd);
      expect(new Set(stage.receive_fds(fds).map((fd) => fd.number)).size).toBe(16);
      expect(() => stage.receive_fds([...fds, 2 as HostFd])).toThrow('17 descriptors are too many');
      expect(stage.getcwd()).toBe(process.cwd());
    });

    test('a result can be used by a later call of the same frame', () => {
      const { wire } = spawn();
      const how = Buffer.alloc(24);
      how.writeUInt32LE(k.O_PATH, 0);
      const calls = [
        { nr: numberOf('openat2'), args: [k.AT_FDCWD, '/proc/self', how, 24], tolerated: [] },
        { nr: numberOf('fchdir'), args: [{ resultOf: 0 }], tolerated: [] },
        { nr: numberOf('close'), args: [{ resultOf: 0 }], tolerated: [] },
      ];
      const reply = decodeReply(wire.exchange(encodeFrame(calls, 0).bytes, [])!.reply);
      expect(reply).toMatchObject({ failed: false, results: [expect.any(Number), 0, 0] });
    });
  });

  describe('large frames', () => {
    const script = 'echo $# $' + '{#1} $' + '{#BIG}';

    test('arguments and environment of a megabyte', () => {
      const { stage, stdout, pidfd } = spawn();
      const args = Array.from({ length: 9 }, () => 'a'.repeat(100_000));
      stage.execve('/bin/sh', ['sh', '-c', script, 'x', ...args], [`BIG=${'b'.repeat(120_000)}`]);
      expect(stdout.readAll()).toBe('9 100000 120000\n');
      expect(reap(pidfd, 0)).toEqual({ exited: 0 });
    });

    test('what is too large for the kernel is its E2BIG, and the stage goes on', () => {
      const { stage } = spawn();
      const error = failureOf(() => stage.execve('/bin/sh', ['sh', 'a'.repeat(200_000)], []));
      expect(error.facts).toMatchObject({ syscall: 'execve', errno: 7 });
      expect(error.facts.call.length).toBeLessThan(300);
      expect(stage.getcwd()).toBe(process.cwd());
    });

    test('what is too large for a frame is not sent', () => {
      const { stage } = spawn();
      expect(() => stage.execve('/bin/sh', ['sh', 'a'.repeat(9 << 20)], [])).toThrow('too many for one frame');
      expect(stage.getcwd()).toBe(process.cwd());
    });
  });

  describe('the program it becomes', () => {
    test('has default dispositions and an empty mask, whatever Node ignores', () => {
      const ignored = BigInt(`0x${statusOf('self', 'SigIgn')}`);
      expect(ignored & (1n << BigInt(os.signals.SIGPIPE - 1))).not.toBe(0n); // Node does: or this test shows nothing
      const { stage, stdout } = spawn(0);
      stage.execve('/bin/cat', ['cat', '/proc/self/status'], []);
      const status = stdout.readAll();
      for (const set of ['SigIgn', 'SigBlk', 'SigCgt']) expect(status).toContain(`${set}:\t0000000000000000\n`);
      expect(status).toMatch(/^Name:\tcat$/m);
    });

    test('does not get the socket', () => {
      const { stage, stdout } = spawn(0);
      stage.execve('/bin/ls', ['ls', '/proc/self/fd'], []);
      expect(stdout.readAll()).toBe('0\n1\n2\n3\n'); // 3 is ls's own, of the folder it reads
    });

    test('a failed execve in the last frame is named, and the stage still answers', () => {
      const { stage } = spawn();
      stage.hold();
      stage.step({ id: 'exec', why: 'a test' });
      stage.umask(0o22);
      const error = failureOf(() => stage.execve('/no/such/program', ['x'], []));
      expect(error.facts).toMatchObject({ syscall: 'execve', errno: 2, step: 'exec' });
      expect(stage.getcwd()).toBe(process.cwd());
    });

    const onX64 =
      process.arch === 'x64' ? needs({}) : { skip: true, meta: { skipReason: 'the filter is one of x86-64' } };
    /** Answers errno for execve and refuses sendmsg, and exit_group if it is to. */
    const filter = (refuseExit: boolean) => {
      const load = [0x20, 0, 0];
      const equal = (nr: number, action: number) => [
        [0x15, 0, 1, nr],
        [0x06, 0, 0, action],
      ];
      const errno = (number: number) => 0x50000 | number;
      const refused = refuseExit ? equal(numberOf('exit_group'), errno(1)) : [];
      const all = [
        [...load, 0],
        ...equal(numberOf('execve'), errno(13)),
        ...equal(numberOf('sendmsg'), errno(1)),
        ...refused,
      ];
      const program = Buffer.alloc(8 * (all.length + 1));
      for (const [i, [code, jt, jf, value]] of [...all, [0x06, 0, 0, 0x7fff0000]].entries()) {
        program.writeUInt16LE(code!, 8 * i);
        program.writeUInt8(jt!, 8 * i + 2);
        program.writeUInt8(jf!, 8 * i + 3);
        program.writeUInt32LE(value!, 8 * i + 4);
      }
      return program;
    };

    test.each([false, true])(
      'under a filter that lets it say nothing, the shared page tells what failed (exit refused: %s)',
      onX64,
      (refuseExit) => {
        const { stage, pidfd } = spawn();
        stage.hold();
        stage.set_no_new_privs();
        stage.seccomp_set_mode_filter(filter(refuseExit), 0);
        const error = failureOf(() => stage.execve('/bin/true', ['true'], []));
        expect(error.facts).toMatchObject({ syscall: 'execve', errno: 13 });
        const status = reap(pidfd, 0)!;
        expect('signal' in status).toBe(refuseExit);
      },
    );
  });

  describe('the fork op', () => {
    test('the child serves on the descriptor it was given, the stage goes on', () => {
      const { wire, hostPid } = spawn();
      const [ours, theirs] = socketPair();
      const [serveFd] = exchange(wire, 'getpid', [], { fds: [theirs] })!.descriptors;
      closeSync(theirs);
      const cloneArgs = Buffer.alloc(88);
      cloneArgs.writeUInt32LE(os.signals.SIGCHLD, 32);
      const childPid = exchange(wire, 'clone3', [cloneArgs, 88], { serveFd: serveFd! })!.results[0];
      const child = new SocketWire(ours, memfd('page', 4096));
      expect(childPid).toBe(2);
      expect(child.handshake()).toBe(childPid); // its first packet is its own answer to the call
      expect(exchange(child, 'getpid', [])).toMatchObject({ pid: 2, results: [2] });
      expect(exchange(wire, 'getpid', [])).toMatchObject({ pid: 1, results: [1] });
      const [processOfChild] = readFileSync(`/proc/${hostPid}/task/${hostPid}/children`, 'utf8').split(' ');
      expect(statusOf(Number(processOfChild), 'NSpid')).toMatch(/\t2$/);
      child.close();
      expect(exchange(wire, 'wait4', [2, null, 0, null])!.results).toEqual([2]); // it ended with its socket
    });
  });

  describe('its death', () => {
    test('the end of the socket ends an idle stage', () => {
      const [ours, theirs] = socketPair();
      const { pidfd, wire } = spawn();
      closeSync(ours);
      closeSync(theirs);
      born = [];
      wire.close();
      expect(reap(pidfd, 0)).toEqual({ exited: 0 });
      closeSync(pidfd);
    });

    test('a frame that breaks the rules ends it, and nothing of it is carried out', () => {
      const { pidfd, wire, stdout } = spawn();
      const write = { nr: numberOf('write'), args: [1, 'done', 4], tolerated: [] };
      const frame = encodeFrame([write, write], 0).bytes;
      frame.writeUInt32LE(0xfffffff0, 32 + 64 + 16); // the second call's pointer
      expect(wire.exchange(frame, [])).toBeUndefined();
      expect(reap(pidfd, 0)).toEqual({ exited: 125 });
      expect(stdout.readAll()).toBe('');
    });

    test('a stage that is gone is told as such, with its last call', () => {
      const { stage, pidfd } = spawn();
      stage.getcwd();
      sendSignal(pidfd, os.signals.SIGKILL);
      reap(pidfd, 0);
      expect(() => stage.getcwd()).toThrow(StageGone);
    });

    test.each([
      ['idle, and nothing tells it but the end of its socket', 'idle'],
      ['blocked in a call, and nothing tells it but the parent-death signal', 'blocked'],
    ])('kill -9 of its Node process ends it: %s', { timeout: 30_000 }, async (_, mode) => {
      const parent = await startParent(mode);
      try {
        const stagePid = await parent.stagePid;
        expect(isStage(stagePid)).toBe(true);
        if (mode === 'blocked')
          await until(() => readFileSync(`/proc/${stagePid}/syscall`, 'utf8').startsWith(`${numberOf('ppoll')} `));
        parent.kill();
        await until(() => !isStage(stagePid));
        expect(isStage(stagePid)).toBe(false);
      } finally {
        parent.remove();
      }
    });
  });
});

/** A zombie that nobody has reaped yet has no program any more. */
function isStage(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === '/memfd:stage (deleted)';
  } catch {
    return false;
  }
}

describe('the handshake', needs({ command: 'cc' }), () => {
  const wireTo = () => {
    const [ours, theirs] = socketPair();
    return { wire: new SocketWire(ours, memfd('page', 4096)), theirs };
  };

  test('with another version is refused with what to do', () => {
    const { wire, theirs } = wireTo();
    const hello = Buffer.alloc(32);
    for (const [i, word] of [0x54435452, 32, 2, 0, 0, 0, 0, 1].entries()) hello.writeUInt32LE(word, 4 * i);
    writeSync(theirs, hello);
    expect(() => wire.handshake()).toThrow('the stage speaks protocol 2, this is 1: run "npm run build"');
    wire.close();
    closeSync(theirs);
  });

  test('with nobody says that the stage did not start', () => {
    const { wire, theirs } = wireTo();
    closeSync(theirs);
    expect(() => wire.handshake()).toThrow('the stage ended before its first call');
    wire.close();
  });
});

test('a program of the host can’t be talked to: the stage leaves at once', () => {
  const { status } = spawnSync(`${nativeFolder}/stage`);
  expect(status).toBe(125);
});
