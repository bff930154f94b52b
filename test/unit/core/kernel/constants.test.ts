import { afterEach, describe, expect, test, vi } from 'vitest';
import { needs } from '../../../support/need.ts';
import { checkFacts, compilers } from './c-facts.ts';

/** The kernel's own headers, and three of the C library for what those don't have. */
const includes = [
  ...['linux/sched.h', 'linux/mount.h', 'linux/fcntl.h', 'linux/openat2.h', 'linux/stat.h', 'linux/magic.h'],
  ...['linux/prctl.h', 'linux/seccomp.h', 'linux/close_range.h', 'linux/memfd.h', 'asm/ioctls.h', 'linux/sockios.h'],
  ...['linux/if.h', 'linux/nsfs.h', 'linux/wait.h', 'sys/socket.h'],
];
const preamble = [
  '#define _GNU_SOURCE',
  ...includes.map((header) => `#include <${header}>`),
  '#define MNT_DETACH 2 /* sys/mount.h and signal.h can not be had together with linux/: see the second test */',
].join('\n');

/** Younger than the headers of the oldest Debian that the tests run on; their values are then in the newer one's. */
const sinceLinux6_3 = ['MFD_EXEC', 'MFD_NOEXEC_SEAL', 'F_SEAL_EXEC'];

const isSignal = (name: string) => name.startsWith('SIG');

const realArch = process.arch;

async function constantsOf(arch: string): Promise<[string, number][]> {
  vi.resetModules();
  Object.defineProperty(process, 'arch', { value: arch });
  return Object.entries(await import('../../../../src/core/kernel/constants.ts'));
}

afterEach(() => {
  Object.defineProperty(process, 'arch', { value: realArch });
});

for (const compiler of compilers)
  describe(`headers of ${compiler.arch}`, needs({ command: compiler.command }), () => {
    test('constants', async () => {
      const facts = await constantsOf(compiler.arch);
      expect(facts.length).toBeGreaterThan(100);
      const ofTheKernel = facts.filter(([name]) => !isSignal(name));
      const { wrong, unknown } = checkFacts(compiler, preamble, ofTheKernel);
      expect(wrong).toEqual([]);
      expect(unknown.filter((name) => !sinceLinux6_3.includes(name))).toEqual([]);
    });

    test('constants of the C library alone', async () => {
      const facts = (await constantsOf(compiler.arch)).filter(
        ([name]) => isSignal(name) || /^(MNT_|MS_(?!NOSYMFOLLOW))/.test(name),
      );
      expect(checkFacts(compiler, '#include <signal.h>\n#include <sys/mount.h>', facts)).toEqual({
        wrong: [],
        unknown: [],
      });
    });
  });

test('the architectures differ where the kernel does', async () => {
  const [x64, arm64] = [await constantsOf('x64'), await constantsOf('arm64')];
  const different = x64.filter(([name, value]) => Object.fromEntries(arm64)[name] !== value);
  expect(different.map(([name]) => name)).toEqual(['O_DIRECTORY', 'O_NOFOLLOW']);
});
