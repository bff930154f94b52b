import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LogReader } from '../../../src/engine/logs.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/logs-`);
});
afterEach(() => rmSync(folder, { recursive: true }));

const line = (text: string) =>
  `${JSON.stringify({ log: text, stream: 'stdout', time: '2026-01-01T00:00:00.000000000Z' })}\n`;
const log = () => `${folder}/container.log`;
const say = (...texts: string[]) => appendFileSync(log(), texts.map(line).join(''));

/** As keeper.c has it. */
function rotate(maxFiles: number): void {
  for (let i = maxFiles - 1; i > 0; i--)
    try {
      renameSync(i > 1 ? `${log()}.${i - 1}` : log(), `${log()}.${i}`);
    } catch {
      // not so many yet
    }
  writeFileSync(log(), '');
}

const read = (reader: LogReader) => [...reader.read()].map(({ bytes }) => bytes.toString());

describe('a log that is read on and on', () => {
  test('across a rotation, and across several at once', () => {
    say('a');
    const reader = new LogReader(folder);
    expect(read(reader)).toEqual(['a']);
    say('b');
    rotate(5);
    say('c');
    expect(read(reader)).toEqual(['b', 'c']);
    for (const text of ['d', 'e', 'f']) {
      say(text);
      rotate(5);
    }
    say('g');
    expect(read(reader)).toEqual(['d', 'e', 'f', 'g']);
    expect(read(reader)).toEqual([]);
    reader.close();
  });

  test('rotated between two files that are read', () => {
    for (const text of ['a', 'b', 'c']) {
      say(text);
      rotate(9);
    }
    const reader = new LogReader(folder);
    const pieces = reader.read();
    expect(pieces.next().value?.bytes.toString()).toBe('a');
    say('d');
    rotate(9);
    say('e');
    expect([...pieces].map(({ bytes }) => bytes.toString())).toEqual(['b', 'c', 'd', 'e']);
    reader.close();
  });

  test('what is gone is left out, what is there comes in order', () => {
    say('a');
    const reader = new LogReader(folder);
    expect(read(reader)).toEqual(['a']);
    for (const text of ['b', 'c', 'd', 'e']) {
      rotate(3);
      say(text);
    }
    expect(read(reader)).toEqual(['c', 'd', 'e']);
    reader.close();
  });

  test('skip: only what comes afterwards, from the next whole line on', () => {
    say('old');
    rotate(3);
    say('a');
    const next = line('b');
    appendFileSync(log(), next.slice(0, 10));
    const reader = new LogReader(folder);
    reader.skip();
    expect(read(reader)).toEqual([]);
    appendFileSync(log(), next.slice(10));
    expect(read(reader)).toEqual(['b']);
    reader.close();
  });

  test('a line that is not whole yet is waited for; damaged ones are counted and left out', () => {
    appendFileSync(log(), line('a').slice(0, 20));
    const reader = new LogReader(folder);
    expect(read(reader)).toEqual([]);
    appendFileSync(log(), line('a').slice(20));
    expect(read(reader)).toEqual(['a']);
    appendFileSync(log(), `{"log":"half${line('b')}{}\n${line('c')}`);
    expect(read(reader)).toEqual(['c']);
    expect(reader.damaged).toBe(2);
    reader.close();
  });

  test('no file yet', () => {
    const reader = new LogReader(folder);
    reader.skip();
    expect(read(reader)).toEqual([]);
    say('a');
    expect(read(reader)).toEqual(['a']);
    reader.close();
  });
});
