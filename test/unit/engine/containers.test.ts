import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { containersNamed, createContainer, findContainer } from '../../../src/engine/containers.ts';

let root: string;
const [a, b, damaged] = ['a1'.repeat(32), 'a2'.repeat(32), 'cd'.repeat(32)];
const create = (id: string, name?: string) =>
  createContainer(root, {
    id,
    name,
    image: 'e'.repeat(64),
    imageName: 'busybox',
    command: ['true'],
    labels: {},
    created: '2026-01-01T00:00:00.000Z',
    stopSignal: undefined,
  });

beforeAll(() => {
  root = mkdtempSync(`${tmpdir()}/tinyctr-unit-`);
  create(a, 'web');
  create(b, 'a1'); // a name that looks like the beginning of another one's id
  create(damaged, 'broken');
  writeFileSync(`${root}/containers/${damaged}/container.json`, '{');
  symlinkSync('f'.repeat(64), `${root}/containers/.names/gone`);
  symlinkSync(a, `${root}/containers/.names/former`); // renamed, and killed before the old name was removed
});
afterAll(() => rmSync(root, { recursive: true }));

const ids = (reference: string) => containersNamed(root, reference).map(({ id }) => id);

describe('a container is found', () => {
  test.each([
    ['by its name', 'web', [a]],
    ['by its name rather than by the beginning of an id', 'a1', [b]],
    ['by its whole id', a, [a]],
    ['by the beginning of its id', 'a2', [b]],
    ['by its name when its record is damaged', 'broken', [damaged]],
    ['not by a name that it no longer has', 'former', []],
    ['not by a name without a container', 'gone', []],
    ['not by a path', `../.names/web`, []],
    ['not by nothing', '', []],
    ['not by an id that nobody has', '9'.repeat(64), []],
  ])('%s', (_, reference, expected) => {
    expect(ids(reference)).toEqual(expected);
  });

  test('or it is said why not', () => {
    expect(ids('a').sort()).toEqual([a, b]);
    expect(() => findContainer(root, 'a')).toThrow('a is the beginning of 2 container ids');
    expect(() => findContainer(root, 'nobody')).toThrow('no such container: nobody');
  });
});
