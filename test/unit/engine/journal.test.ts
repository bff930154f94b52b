import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  containerEvent,
  FULL_BYTES,
  imageEvent,
  journalFile,
  olderFile,
  tell,
  volumeEvent,
} from '../../../src/engine/journal.ts';

let folder: string;
let root: string;
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/tinyctr-unit-`);
  root = `${folder}/root`;
});
afterAll(() => rmSync(folder, { recursive: true }));

const lines = () =>
  readFileSync(journalFile(root), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('the fields are docker’s, one line an event, for root alone', () => {
  const record = { id: 'ab'.repeat(32), name: 'web', imageName: 'busybox', labels: { k: 'v' } };
  tell(root, [containerEvent(record, 'die', { exitCode: '3' }), volumeEvent('create', 'data')]);
  tell(root, [{ ...imageEvent('tag', 'sha256:12', 'one:two'), atMs: 1_796_033_571_094 }]);
  expect(lines()).toMatchObject([
    {
      ...{ status: 'die', id: record.id, from: 'busybox', Type: 'container', Action: 'die', scope: 'local' },
      Actor: { ID: record.id, Attributes: { image: 'busybox', name: 'web', k: 'v', exitCode: '3' } },
    },
    { Type: 'volume', Action: 'create', Actor: { ID: 'data', Attributes: { driver: 'local' } }, scope: 'local' },
    {
      ...{ status: 'tag', id: 'sha256:12', Type: 'image', Action: 'tag', scope: 'local' },
      Actor: { ID: 'sha256:12', Attributes: { name: 'one:two' } },
    },
  ]);
  expect(lines()[1]).not.toHaveProperty('status');
  expect(readFileSync(journalFile(root), 'utf8')).toContain('"time":1796033571,"timeNano":1796033571094000000}');
  expect(statSync(journalFile(root)).mode & 0o777).toBe(0o600);
});

test('a line that was cut off harms no other', () => {
  appendFileSync(journalFile(root), '{"Type":"contai');
  tell(root, [volumeEvent('destroy', 'data')]);
  expect(readFileSync(journalFile(root), 'utf8').split('\n').at(-2)).toContain('"destroy"');
});

test('a full one is put aside, and no more than one is kept', () => {
  writeFileSync(journalFile(root), `${'x'.repeat(FULL_BYTES)}\n`);
  tell(root, [volumeEvent('create', 'first')]);
  expect(existsSync(journalFile(root))).toBe(false);
  expect(readFileSync(olderFile(root), 'utf8')).toContain('"first"');
  tell(root, [volumeEvent('create', 'second')]);
  expect(lines()).toMatchObject([{ Actor: { ID: 'second' } }]);
});
