/** Which user a text means (SEC-15): the exact one or an error, never root because something was not understood. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ContainerUser, parseId, resolveUser } from '../../../../src/core/init/user.ts';
import { ContainerError } from '../../../../src/core/kernel/error.ts';

const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(':'));
const passwd = lines(`
  root:x:0:0:root:/root:/bin/sh
  anna:x:1000:1001::/home/anna:/bin/sh
  toor:x:0:0::/home/toor:/bin/sh
  77:x:2000:2000::/home/digits:/bin/sh
  homeless:x:3000:3000:::/bin/sh
  wrong:x:0x0:0::/:/bin/sh
  groupless:x:4000:zero::/:/bin/sh
`);
const group = lines(`
  root:x:0:root
  wheel:x:10:root,anna
  audio:x:29:anna,annabel
  88:x:300:
  broken:x:-1:
`);
const resolve = (text: string, groupAdd: string[] = []) => resolveUser(text, groupAdd, passwd, group);
const messageOf = (text: string, groupAdd: string[] = []): string => {
  try {
    return `resolved to ${JSON.stringify(resolve(text, groupAdd))}`;
  } catch (error) {
    expect(error).toBeInstanceOf(ContainerError);
    return (error as ContainerError).message;
  }
};

describe('resolveUser', () => {
  test.each<[string, ContainerUser]>([
    ['', { uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' }],
    ['root', { uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' }],
    ['anna', { uid: 1000, gid: 1001, additionalGids: [1001, 10, 29], home: '/home/anna' }],
    ['1000', { uid: 1000, gid: 1001, additionalGids: [1001, 10, 29], home: '/home/anna' }],
    ['toor', { uid: 0, gid: 0, additionalGids: [0], home: '/home/toor' }],
    ['77', { uid: 2000, gid: 2000, additionalGids: [2000], home: '/home/digits' }],
    ['homeless', { uid: 3000, gid: 3000, additionalGids: [3000], home: '/' }],
    ['5000', { uid: 5000, gid: 0, additionalGids: [0], home: '/' }],
    ['anna:audio', { uid: 1000, gid: 29, additionalGids: [29], home: '/home/anna' }],
    ['anna:5000', { uid: 1000, gid: 5000, additionalGids: [5000], home: '/home/anna' }],
    ['5000:88', { uid: 5000, gid: 300, additionalGids: [300], home: '/' }],
    ['4294967294:4294967294', { uid: 4294967294, gid: 4294967294, additionalGids: [4294967294], home: '/' }],
  ])('%j', (text, user) => {
    expect(resolve(text)).toEqual(user);
  });

  test('adds groups by name and number, each once', () => {
    expect(resolve('anna', ['audio', '44', 'wheel', '44']).additionalGids).toEqual([1001, 10, 29, 44]);
  });

  test.each([
    ['nobody', `there is no user "nobody" in the container's /etc/passwd`],
    ['Root', `there is no user "Root" in the container's /etc/passwd`],
    ...['-1', '+0', ' 0', '0x0', '00', '1e3', '4294967295', '4294967296', '99999999999'].map((text) => [
      text,
      `there is no user "${text}" in the container's /etc/passwd`,
    ]),
    ['wrong', `there is no user "wrong" in the container's /etc/passwd`],
    ['groupless', `the group of "groupless" in the container's /etc/passwd is no number`],
    ['anna:nogroup', `there is no group "nogroup" in the container's /etc/group`],
    ['anna:broken', `there is no group "broken" in the container's /etc/group`],
    ['anna:00', `there is no group "00" in the container's /etc/group`],
    [':', 'user ":" is not of the form user[:group]'],
    [':0', 'user ":0" is not of the form user[:group]'],
    ['anna:', 'user "anna:" is not of the form user[:group]'],
    ['anna:0:0', 'user "anna:0:0" is not of the form user[:group]'],
  ])('%j is an error', (text, message) => {
    expect(messageOf(text!)).toBe(message);
  });

  test('a group to add that does not exist is an error', () => {
    expect(messageOf('anna', ['nogroup'])).toBe(`there is no group "nogroup" in the container's /etc/group`);
  });

  test('a line without a name makes nobody a member of every empty group', () => {
    const nameless = [['', 'x', '7', '8', '', '/', '']];
    expect(resolveUser('7', [], nameless, [['g', 'x', '9', '']]).additionalGids).toEqual([8]);
  });

  test('without passwd and group files there are numbers only', () => {
    expect(resolveUser('1:2', [], [], [])).toEqual({ uid: 1, gid: 2, additionalGids: [2], home: '/' });
    expect(() => resolveUser('root', [], [], [])).toThrow('there is no user "root"');
  });
});

/** The same rules, found by reading docker's documentation again and by another way: the test's own. */
function oracle(text: string, groupAdd: string[], users: string[][], groups: string[][]): ContainerUser | undefined {
  const number = (digits: string): number | undefined => {
    if (digits.length === 0 || digits.length > 10 || (digits.length > 1 && digits[0] === '0')) return undefined;
    for (const char of digits) if (char < '0' || char > '9') return undefined;
    return BigInt(digits) < 4294967295n ? Number(digits) : undefined;
  };
  const colons = [...text].filter((char) => char === ':').length;
  const [who, which] = text === '' ? ['0', undefined] : [text.split(':')[0]!, text.split(':')[1]];
  if (colons > 1 || who === '' || which === '') return undefined;
  let line: string[] | undefined;
  for (const candidate of [...users].reverse())
    if (number(candidate[2]!) === number(who) && number(who) !== undefined) line = candidate;
  for (const candidate of [...users].reverse()) if (candidate[0] === who) line = candidate;
  const uid = line ? number(line[2]!) : number(who);
  const gidOf = (name: string): number | undefined => {
    for (const candidate of groups) if (candidate[0] === name) return number(candidate[2]!);
    return number(name);
  };
  const gid = which !== undefined ? gidOf(which) : line ? number(line[3]!) : 0;
  if (uid === undefined || gid === undefined) return undefined;
  const gids = new Set([gid]);
  if (which === undefined && line && line[0] !== '')
    for (const [, , id, members] of groups)
      if (members!.split(',').some((member) => member === line[0]) && number(id!) !== undefined) gids.add(number(id!)!);
  for (const name of groupAdd) {
    const added = gidOf(name);
    if (added === undefined) return undefined;
    gids.add(added);
  }
  return { uid, gid, additionalGids: [...gids], home: line?.[5] ? line[5] : '/' };
}

const word = fc.constantFrom(
  ...['0', '1000', '29', 'anna'],
  'root',
  'anna',
  '0',
  '00',
  '1000',
  '',
  '4294967295',
  '4294967294',
  '-1',
  '+0',
  ' 0',
  '0x0',
  '1e3',
  '٣',
  '0\n',
  'toString',
);
const anyWord = fc.oneof({ weight: 9, arbitrary: word }, { weight: 1, arbitrary: fc.string({ maxLength: 8 }) });
const field = anyWord.map((text) => text.replaceAll(':', '').replaceAll('\n', ''));
const passwdLine = fc.tuple(
  field,
  fc.constant('x'),
  field,
  field,
  fc.constant(''),
  fc.constantFrom('', '/home'),
  fc.constant('sh'),
);
const groupLine = fc.tuple(
  field,
  fc.constant('x'),
  field,
  fc.array(field, { maxLength: 3 }).map((members) => members.join(',')),
);
const userText = fc.oneof(
  anyWord,
  fc.tuple(anyWord, anyWord).map(([user, its]) => `${user}:${its}`),
);
const world = fc.record({
  text: userText,
  groupAdd: fc.oneof({ weight: 3, arbitrary: fc.constant<string[]>([]) }, fc.array(anyWord, { maxLength: 2 })),
  users: fc.array(passwdLine, { maxLength: 5 }),
  groups: fc.array(groupLine, { maxLength: 5 }),
});

describe('whatever the text and the files', () => {
  const attempt = (text: string, groupAdd: string[], users: string[][], groups: string[][]) => {
    try {
      return resolveUser(text, groupAdd, users, groups);
    } catch (error) {
      if (error instanceof ContainerError) return undefined;
      throw error;
    }
  };

  test('the result is the oracle’s, or both refuse', () => {
    let resolved = 0;
    fc.assert(
      fc.property(world, ({ text, groupAdd, users, groups }) => {
        const user = attempt(text, groupAdd, users, groups);
        resolved += user ? 1 : 0;
        expect(user).toEqual(oracle(text, groupAdd, users, groups));
      }),
      { numRuns: 5000, seed: 20261121 },
    );
    expect(resolved).toBeGreaterThan(500);
  });

  test('root is root only where somebody said so', () => {
    fc.assert(
      fc.property(world, ({ text, users, groups }) => {
        const user = attempt(text, [], users, groups);
        if (user?.uid !== 0) return;
        const who = text.split(':')[0]!;
        const said = text === '' || who === '0' || users.some(([name, , uid]) => name === who && uid === '0');
        expect(said).toBe(true);
      }),
      { numRuns: 5000, seed: 15 },
    );
  });

  test('an id is the number that was written, or none', () => {
    fc.assert(
      fc.property(fc.oneof(fc.nat(2 ** 33).map(String), anyWord), (text) => {
        const id = parseId(text);
        if (id !== undefined) expect([String(id), id >= 0 && id < 2 ** 32 - 1]).toEqual([text, true]);
        else expect(/^(0|[1-9]\d*)$/.test(text) && Number(text) < 2 ** 32 - 1).toBe(false);
      }),
      { numRuns: 3000, seed: 7 },
    );
  });
});
