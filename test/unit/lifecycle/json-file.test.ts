/** Files of JSON are read with suspicion, and written whole or not at all. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, describe, expect, test } from 'vitest';
import { DamagedFile, lacks, readJson, writeJson } from '../../../src/lifecycle/json-file.ts';

const folder = mkdtempSync(`${tmpdir()}/tinyctr-json-`);
const file = `${folder}/record.json`;
afterAll(() => rmSync(folder, { recursive: true }));

const shape = { id: 'string', count: 'number?', log: { driver: 'string' }, list: 'array' } as const;
const whole = { id: 'x', log: { driver: 'none' }, list: [] };

describe('readJson', () => {
  test.each([
    ['', 'record.json is empty'],
    [' \n', 'record.json is empty'],
    ['{"id": "x", "lo', 'record.json is no JSON: '],
    ['\x00\x01\x7fELF', 'record.json is no JSON: '],
    ['null', 'record.json: it is of type null, not an object'],
    ['[]', 'record.json: it is of type array, not an object'],
    ['5', 'record.json: it is of type number, not an object'],
    ['{}', 'record.json: id is missing, not of type string'],
    [JSON.stringify({ ...whole, id: 5 }), 'record.json: id is of type number, not of type string'],
    [JSON.stringify({ ...whole, count: '1' }), 'record.json: count is of type string, not of type number'],
    [JSON.stringify({ ...whole, log: null }), 'record.json: log is of type null, not an object'],
    [JSON.stringify({ ...whole, log: {} }), 'record.json: log.driver is missing, not of type string'],
    [JSON.stringify({ ...whole, list: {} }), 'record.json: list is of type object, not of type array'],
  ])('%j is damaged, and it is said why', (text, why) => {
    writeFileSync(file, text, 'latin1');
    expect(() => readJson(file, shape)).toThrow(DamagedFile);
    expect(() => readJson(file, shape)).toThrow(why);
  });

  test('a folder in its place is a damage, no file is none', () => {
    mkdirSync(`${folder}/folder.json`);
    expect(() => readJson(`${folder}/folder.json`, shape)).toThrow("folder.json can't be read (EISDIR)");
    expect(() => readJson(`${folder}/nothing`, shape)).toThrow('ENOENT');
  });

  test('what is whole comes back, with fields that nobody asked for', () => {
    writeFileSync(file, JSON.stringify({ ...whole, count: null, more: 1 }));
    expect(readJson(file, shape)).toEqual({ ...whole, count: null, more: 1 });
    expect(lacks(whole, shape, '')).toBeUndefined();
  });
});

describe('writeJson', () => {
  test('replaces the file, 0600', () => {
    writeFileSync(file, 'old');
    writeJson(file, whole, 2);
    expect(readFileSync(file, 'utf8')).toBe(`${JSON.stringify(whole, null, 2)}\n`);
    expect(readdirSync(folder).filter((name) => name.endsWith('.new'))).toEqual([]);
  });

  test('what can’t be written leaves nothing', () => {
    mkdirSync(`${folder}/taken`);
    writeFileSync(`${folder}/taken/entry`, '');
    expect(() => writeJson(`${folder}/taken`, whole)).toThrow(`${folder}/taken can't be written`);
    expect(readdirSync(folder).filter((name) => name.endsWith('.new'))).toEqual([]);
  });
});
