/** Words of the command line: container ids, signals, cgroup paths. */
import { expect, test } from 'vitest';
import { parseSignal } from '../../../src/oci/kill.ts';
import { cgroupPathOf } from '../../../src/oci/plan.ts';
import { checkId } from '../../../src/oci/state.ts';

test.each(['a', '0', '_', '+x', '-x', 'a.b', 'A-b_c+d.e', 'f'.repeat(64)])('the id %j is fine', (id) => {
  expect(() => checkId(id)).not.toThrow();
});

test.each(['', '.', '..', '.a', 'a/b', 'a b', 'a,b', 'é', 'a\n', 'x'.repeat(201)])('the id %j is refused', (id) => {
  expect(() => checkId(id)).toThrow('invalid container ID format');
});

test.each([
  ['0', 0],
  ['9', 9],
  ['64', 64],
  ['KILL', 9],
  ['SIGTERM', 15],
  ['sigusr1', 10],
])('the signal %j is %i', (text, number) => {
  expect(parseSignal(text)).toBe(number);
});

test.each(['65', '-9', 'NOPE', '', 'SIG', '9x'])('the signal %j is refused', (text) => {
  expect(() => parseSignal(text)).toThrow('unknown signal');
});

const withPath = (cgroupsPath: string) => ({ ociVersion: '1.0.2', linux: { cgroupsPath } });

test.each([
  ['/docker/x', '/docker/x'],
  ['//a/./b/', '/a/b'],
  ['relative/x', '/tinyctr-oci/relative/x'],
  ['machine.slice:foo:bar', '/tinyctr-oci/machine.slice:foo:bar'],
  ['', '/tinyctr-oci/id'],
])('the cgroupsPath %j is the cgroup %s', (path, expected) => {
  expect(cgroupPathOf(withPath(path), 'id')).toBe(expected);
});

test.each(['/', '/a/../..', '../x'])('the cgroupsPath %j is refused', (path) => {
  expect(() => cgroupPathOf(withPath(path), 'id')).toThrow('cgroupsPath');
});
