import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compiledFilter } from '../../../src/seccomp/cache.ts';
import { compileFilter } from '../../../src/seccomp/compile.ts';
import type { Seccomp } from '../../../src/spec/types.ts';

const profile: Seccomp = {
  defaultAction: 'SCMP_ACT_ERRNO',
  flags: ['SECCOMP_FILTER_FLAG_LOG'],
  syscalls: [{ names: ['read', 'write', 'frobnicate'], action: 'SCMP_ACT_ALLOW' }],
};
const fresh = compileFilter(profile);
let scratch: string;
let folder: string;

beforeEach(() => {
  scratch = mkdtempSync(`${tmpdir()}/tinyctr-seccomp-`);
  folder = `${scratch}/run/seccomp`;
});
afterEach(() => rmSync(scratch, { recursive: true }));

/** Fills the cache with the one profile, and returns the path of its file. */
function fill(): string {
  compiledFilter(profile, folder);
  return `${folder}/${readdirSync(folder)[0]}`;
}

/** A file that is whole, but holds another program: whoever returns it has not compiled. */
function plant(path: string): Buffer {
  const file = readFileSync(path);
  const body = Buffer.from(file.subarray(0, file.length / 2));
  body.writeUInt32LE(0x0005002a, body.length - 4); // the last return answers errno 42
  writeFileSync(path, Buffer.concat([body, body]));
  return body.subarray(body.length - fresh.program.length);
}

/** Compiled afresh, and the file is whole again. */
function expectRebuilt(path: string): void {
  const whole = readFileSync(fillElsewhere());
  expect(compiledFilter(profile, folder)).toEqual(fresh);
  expect(statSync(path).isFile()).toBe(true);
  expect(readFileSync(path).equals(whole)).toBe(true);
  expect(readdirSync(folder)).toHaveLength(1);
}

function fillElsewhere(): string {
  const other = `${scratch}/other`;
  compiledFilter(profile, other);
  return `${other}/${readdirSync(other)[0]}`;
}

describe('a filter from the cache', () => {
  test('is the compiled one, in a folder and a file for root only', () => {
    expect(compiledFilter(profile, folder)).toEqual(fresh);
    expect(fresh.skipped).toEqual(['frobnicate']);
    expect(compiledFilter(profile, folder)).toEqual(fresh);
    expect(statSync(folder).mode & 0o7777).toBe(0o700);
    expect(statSync(fill()).mode & 0o7777).toBe(0o600);
  });

  test('is not compiled again', () => {
    const path = fill();
    const planted = plant(path);
    expect(compiledFilter(profile, folder)).toEqual({ ...fresh, program: planted });
  });

  test('is another one for another profile, also for one with larger numbers', () => {
    const withValue = (value: number | bigint): Seccomp => {
      const args = [{ index: 0, value: value as number, op: 'SCMP_CMP_EQ' }];
      return { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', args }] };
    };
    const profiles = [profile, withValue(5), withValue(5n), withValue(6), withValue(1n << 63n)];
    for (const one of profiles) compiledFilter(one, folder);
    expect(readdirSync(folder)).toHaveLength(profiles.length);
    for (const one of profiles) expect(compiledFilter(one, folder)).toEqual(compileFilter(one));
  });

  test('of another profile, found under the name, is not taken', () => {
    const path = fill();
    const other = { ...profile, defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] };
    compiledFilter(other, folder);
    const otherPath = readdirSync(folder)
      .map((name) => `${folder}/${name}`)
      .find((name) => name !== path)!;
    renameSync(otherPath, path);
    expectRebuilt(path);
  });
});

describe('a damaged file is compiled again', () => {
  test('whichever byte changed', () => {
    const path = fill();
    const whole = readFileSync(path);
    for (let at = 0; at < whole.length; at += 7) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 1 << (at % 8);
      writeFileSync(path, damaged);
      expect(compiledFilter(profile, folder), `byte ${at}`).toEqual(fresh);
      expect(readFileSync(path).equals(whole), `byte ${at}`).toBe(true);
    }
  });

  test.each([0, 1, 2, 100, -1, -2, -8])('cut to %i bytes', (length) => {
    const path = fill();
    writeFileSync(path, readFileSync(path).subarray(0, length));
    expectRebuilt(path);
  });

  test('cut to a half', () => {
    const path = fill();
    const file = readFileSync(path);
    writeFileSync(path, file.subarray(0, file.length / 2));
    expectRebuilt(path);
  });

  test.each([
    ['nothing', ''],
    ['a list of names that is none', '{'],
    ['no program', '[]\n'],
    ['zeros', `[]\n${'\0'.repeat(80)}`],
  ])('right at the beginning, then %s', (_what, rest) => {
    const path = fill();
    const identity = readFileSync(path, 'latin1').split('\n')[0];
    writeFileSync(path, Buffer.from(`${identity}\n${rest}`.repeat(2), 'latin1'));
    expectRebuilt(path);
  });

  test('too large to be one of ours', () => {
    const path = fill();
    writeFileSync(path, Buffer.alloc(2 ** 20 + 1));
    expectRebuilt(path);
  });
});

describe('a file of doubtful origin is compiled again', () => {
  test.each([0o620, 0o602, 0o666])('mode %o', (mode) => {
    const path = fill();
    plant(path);
    chmodSync(path, mode);
    expectRebuilt(path);
    expect(statSync(path).mode & 0o7777).toBe(0o600);
  });

  test('a symbolic link', () => {
    const path = fill();
    plant(path);
    renameSync(path, `${scratch}/elsewhere`);
    symlinkSync(`${scratch}/elsewhere`, path);
    expectRebuilt(path);
  });

  test('a directory', () => {
    const path = fill();
    rmSync(path);
    mkdirSync(`${path}/full`, { recursive: true });
    expectRebuilt(path);
  });
});

describe('the folder', () => {
  test.each([0o770, 0o707, 0o1777])('of mode %o is refused, full or empty', (mode) => {
    const error = `${folder} belongs to uid ${process.geteuid!()}, mode 0${mode.toString(8)}: compiled seccomp filters are kept only where nobody but uid ${process.geteuid!()} can write`;
    plant(fill());
    chmodSync(folder, mode);
    expect(() => compiledFilter(profile, folder)).toThrow(error);
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    chmodSync(folder, mode);
    expect(() => compiledFilter(profile, folder)).toThrow(error);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('that is a symbolic link is refused', () => {
    mkdirSync(`${scratch}/run`);
    symlinkSync(fillElsewhere().replace(/\/[^/]*$/, ''), folder);
    expect(() => compiledFilter(profile, folder)).toThrow(`${folder} is not a directory`);
  });

  test('that cannot be made costs the cache, not the filter', () => {
    writeFileSync(`${scratch}/run`, '');
    expect(compiledFilter(profile, folder)).toEqual(fresh);
    expect(existsSync(folder)).toBe(false);
  });
});

test('a profile with a fault is never kept', () => {
  const faulty = { ...profile, flags: ['SECCOMP_FILTER_FLAG_NEW'] };
  expect(() => compiledFilter(faulty, folder)).toThrow('/linux/seccomp/flags/0');
  expect(existsSync(folder)).toBe(false);
});
