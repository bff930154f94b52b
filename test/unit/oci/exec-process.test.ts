/** What options of exec make of the container's own process, and who --user names: exact or an error (SEC-15). */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ProcessOptions, parseUser, processOf } from '../../../src/oci/exec-process.ts';
import type { Process } from '../../../src/spec/types.ts';

const every = (1n << 41n) - 1n;
const own: Process = {
  terminal: true,
  consoleSize: { height: 1, width: 2 },
  user: { uid: 7, gid: 8, additionalGids: [9], umask: 0o27 },
  args: ['init'],
  env: ['A=1', 'B=2'],
  cwd: '/own',
  capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
  rlimits: [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 20 }],
  noNewPrivileges: true,
  oomScoreAdj: 3,
};
const none: ProcessOptions = { additionalGids: [], cap: [], env: [], newPrivs: true };
const warned: string[] = [];
const make = (args: string[], options: Partial<ProcessOptions> = {}, permitted = every, strict = false) =>
  processOf(own, args, { ...none, ...options }, permitted, { strict, warn: (text) => warned.push(text) });

test('nothing said: the container’s, with another command and without a terminal', () => {
  expect(make(['ls'])).toEqual({
    ...own,
    args: ['ls'],
    terminal: false,
    consoleSize: undefined,
    user: { ...own.user, additionalGids: [9] },
  });
});

test('options change it', () => {
  const process = make(['ls'], {
    ...{ tty: true, user: '1:2', additionalGids: ['3'], cwd: '/x', env: ['A=3', 'C=', 'C=4'], newPrivs: false },
    cap: ['CAP_SYS_ADMIN'],
  });
  expect(process).toMatchObject({
    terminal: true,
    user: { uid: 1, gid: 2, umask: 0o27, additionalGids: [9, 3] },
    cwd: '/x',
    env: ['A=3', 'B=2', 'C=4'],
    noNewPrivileges: true,
    capabilities: { bounding: ['CAP_KILL', 'CAP_SYS_ADMIN'], permitted: ['CAP_KILL', 'CAP_SYS_ADMIN'] },
  });
  expect(process.capabilities).not.toHaveProperty('inheritable');
  expect(process.capabilities).not.toHaveProperty('ambient');
});

test('all wrong options are told at once', () => {
  const wrong = { user: 'root', additionalGids: ['x'], cwd: 'x', env: ['=1'], cap: ['CAP_KIL'] };
  expect(() => make(['ls'], wrong)).toThrow(/--user.*\n.*--additional-gids|--cwd/s);
  try {
    make(['ls'], wrong);
  } catch (error) {
    expect((error as { problems: string[] }).problems).toHaveLength(4);
  }
  expect(() => make([])).toThrow('process args cannot be empty');
});

test.each([
  ['0', { uid: 0 }],
  ['1000', { uid: 1000 }],
  ['1000:0', { uid: 1000, gid: 0 }],
  ['4294967294:4294967294', { uid: 4294967294, gid: 4294967294 }],
])('--user %s', (text, user) => {
  expect(parseUser(text)).toEqual(user);
});

test.each([
  ...['', ':', '0:', ':0', '1:2:3', 'root', '0x0', '+1', '-1', ' 1', '1 ', '01', '1e3', '4294967295', '4294967296'],
  ...['18446744073709551616', '1.0', '1\n', '٣', '1:root', '1:+2', '1,2'],
])('--user %j is an error, never somebody else', (text) => {
  expect(() => parseUser(text)).toThrow('--user');
});

describe('process.json', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(`${tmpdir()}/tinyctr-process-`);
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const from = (value: unknown, args: string[] = [], options: Partial<ProcessOptions> = {}) => {
    writeFileSync(`${folder}/process.json`, typeof value === 'string' ? value : JSON.stringify(value));
    return make(args, { ...options, process: `${folder}/process.json` });
  };
  const least = { user: { uid: 0, gid: 0 }, args: ['ls'], cwd: '/' };

  test('what it says nothing about is as in the container, but not who, where and what', () => {
    const { capabilities, rlimits, noNewPrivileges, oomScoreAdj } = own;
    expect(from(least)).toEqual({ ...least, capabilities, rlimits, noNewPrivileges, oomScoreAdj });
    expect(from({ ...least, noNewPrivileges: false, rlimits: [], env: null })).toMatchObject({
      noNewPrivileges: false,
      rlimits: [],
    });
    expect(from(least, [], { tty: true }).terminal).toBe(true);
    expect(from({ args: ['ls'], cwd: '/' }).user).toEqual(own.user);
  });

  test('every fault is told, with its pointer', () => {
    expect(() => from({ args: [], cwd: 'x', user: { uid: -1, gid: 0 } })).toThrow(
      /process\.json: \/args is \[\].*\n.*process\.json: \/cwd is "x".*\n.*process\.json: \/user\/uid is -1|\/user\/uid/s,
    );
    expect(() => from('{')).toThrow('is not JSON');
    expect(() => from([])).toThrow('the whole file');
    expect(() => from({ ...least, rlimits: [{ type: 'RLIMIT_X', soft: 1, hard: 1 }] })).toThrow('/rlimits/0');
    expect(() => from({ ...least, apparmorProfile: 5 })).toThrow('/apparmorProfile');
  });

  test('an unknown field is ignored with a warning that offers the likely spelling', () => {
    warned.length = 0;
    from({ ...least, oomScoreAdjust: 1 });
    expect(warned).toEqual([expect.stringContaining('oomScoreAdj')]);
  });

  test('what would have no effect beside it is refused', () => {
    expect(() => from(least, ['ls'])).toThrow('a command');
    expect(() => from(least, [], { user: '1', cap: ['CAP_KILL'] })).toThrow('--user, --cap');
  });
});
