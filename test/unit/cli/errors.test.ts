import { expect, test, vi } from 'vitest';
import { errorFields, errorLines, printError } from '../../../src/cli/errors.ts';
import { requireKernel } from '../../../src/cli/require.ts';
import { ContainerError, SyscallError } from '../../../src/core/kernel/error.ts';
import { UsageError } from '../../../src/engine/usage-error.ts';

const call = new SyscallError({
  syscall: 'move_mount',
  call: 'move_mount(5, "", 6, "", 0)',
  errno: 20,
  side: 'stage',
  step: 'mount /data',
});
const explained = new ContainerError('the volume can not be attached', {
  cause: new Error('something between', { cause: call }),
  specPointer: '/mounts/3',
  hint: 'do that',
});

test('one chain: the sentence, each cause, the call, the place, the field, the hint', () => {
  expect(errorLines(explained, false)).toEqual([
    'tinyctr: the volume can not be attached',
    '  because: something between',
    '  call: move_mount(5, "", 6, "", 0) = -1 ENOTDIR (not a directory)',
    '  where: in the container that was being built, step mount /data',
    '  spec field: /mounts/3',
    '  hint: do that',
  ]);
});

test('the same as data', () => {
  expect(errorFields(explained)).toEqual({
    syscall: 'move_mount',
    call: 'move_mount(5, "", 6, "", 0)',
    errno: 20,
    code: 'ENOTDIR',
    side: 'stage',
    step: 'mount /data',
    specPointer: '/mounts/3',
    hint: 'do that',
    causes: ['something between', call.message],
  });
});

test('a bare call is a sentence with its step, and stands below', () => {
  expect(errorLines(call, false)).toEqual([
    'tinyctr: step mount /data failed: move_mount: not a directory',
    '  call: move_mount(5, "", 6, "", 0) = -1 ENOTDIR (not a directory)',
    '  where: in the container that was being built, step mount /data',
  ]);
  const host = new SyscallError({ syscall: 'clone3', call: 'clone3()', errno: 1, side: 'host' });
  expect(errorLines(host, false)).toEqual([
    'tinyctr: clone3: operation not permitted',
    '  call: clone3() = -1 EPERM (operation not permitted)',
    '  where: on the host',
  ]);
});

test('of two hints in a chain the outer one comes first, and is the field', () => {
  const inner = new ContainerError('inner', { hint: 'second' });
  const outer = new ContainerError('outer', { hint: 'first', cause: inner });
  expect(errorLines(outer, false)).toEqual(['tinyctr: outer', '  because: inner', '  hint: first', '  hint: second']);
  expect(errorFields(outer)).toEqual({ hint: 'first', causes: ['inner'] });
});

test('each problem of a command line has its line', () => {
  const error = new UsageError(['one', 'two']);
  expect(errorLines(error, false)).toEqual(['tinyctr: one', 'tinyctr: two']);
  expect(errorFields(error)).toEqual({ problems: ['one', 'two'] });
});

test('stacks only with --debug; a chain that bites its tail has an end', () => {
  expect(errorLines(explained, false).join('\n')).not.toContain(' at ');
  expect(errorLines(explained, true).join('\n')).toContain(' at ');
  const loop = new Error('loop');
  loop.cause = loop;
  expect(errorLines(loop, false)).toEqual(['tinyctr: loop']);
  expect(errorLines('text', false)).toEqual(['tinyctr: text']);
});

test.each([
  [explained, 125],
  [new ContainerError('not found', { exitCode: 127 }), 127],
  [new ContainerError('not executable', { exitCode: 126 }), 126],
  [new UsageError('x'), 125],
  [new TypeError('x'), 125],
])('exit code of %s', async (error, code) => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const globals = { root: '', runRoot: '', debug: false, logFormat: 'text' } as const;
  expect(await printError(error, globals)).toBe(code);
  expect(write.mock.calls).toEqual([[`${errorLines(error, false).join('\n')}\n`]]);
  write.mockRestore();
});

test('a kernel that is too old is one sentence', () => {
  for (const release of ['5.10.0', '5.13.19-generic', '4.19.0', '3.10'])
    expect(() => requireKernel(release)).toThrow(`this is Linux ${release}; tinyctr needs 5.14 or newer`);
  for (const release of ['5.14.0', '5.15.0-rc1', '6.1.0-18-amd64', '10.0']) requireKernel(release);
});
