/** The first page of the tour runs, finds what it says it finds, and leaves the host as it was. */
import { spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const example = (...args: string[]) => {
  const env = { ...process.env, NO_COLOR: '1' };
  return spawnSync(process.execPath, [`${root}/scripts/example.mjs`, ...args], { encoding: 'utf8', env });
};
const host = () => ({
  hostname: hostname(),
  mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
  namespaces: ['uts', 'mnt', 'pid'].map((type) => readlinkSync(`/proc/self/ns/${type}`)),
});

describe('examples/direct-ffi.ts', needs({ root: true, capability: 'CAP_SYS_ADMIN' }), () => {
  test('prints what works and where the road ends, and the host is as before', () => {
    const before = host();
    const { status, stdout, stderr } = example('direct-ffi');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[0]).toMatch(
      /^works: the host name is "inside", and a tmpfs is mounted on \/mnt: direct-ffi \/mnt tmpfs /,
    );
    const [, outside, all] = /^threads: (\d+) of (\d+) are still on the host$/.exec(lines[1]!)!.map(Number);
    expect(outside).toBe(all! - 1);
    const [, here, there] = /device (\d+) for fs\.statSync, and device (\d+) for fs\.promises\.stat$/.exec(lines[2]!)!;
    expect(here).not.toBe(there);
    expect(lines[3]).toMatch(/^user namespace: unshare\(268435456\): Invalid argument .* \d+ threads/);
    expect(lines[4]).toMatch(
      /^pid 1: Node is still \d{2,}, its child was 1, the one after: spawnSync \/bin\/true ENOMEM$/,
    );
    expect(host()).toEqual(before);
  });
});

test('an example that does not exist is an error that names those that do', () => {
  const { status, stderr } = example('direct-fii');
  expect({ status, stderr }).toEqual({ status: 2, stderr: 'usage: npm run example NAME; there are: direct-ffi\n' });
});
