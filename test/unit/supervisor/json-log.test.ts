/** native-shim/json-log.h, by itself: what it writes, src/engine/logs.ts reads. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LogReader } from '../../../src/engine/logs.ts';
import { needs } from '../../support/need.ts';

const CHUNK = 16_384;
const folder = mkdtempSync(`${tmpdir()}/tinyctr-test-`);
let log: string;

describe('json-log.h', needs({ command: 'cc' }), () => {
  beforeAll(() => {
    const include = new URL('../../../native-shim', import.meta.url).pathname;
    const source = new URL('json-log.c', import.meta.url).pathname;
    const words = ['-std=gnu11', '-Wall', '-Werror', '-O1', '-I', include, '-o', `${folder}/json-log`, source];
    expect(spawnSync('cc', words, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });
  beforeEach(() => {
    log = mkdtempSync(`${folder}/log-`);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const write = (input: Buffer | string, maxSize = 0, maxFiles = 1) =>
    expect(spawnSync(`${folder}/json-log`, [log, `${maxSize}`, `${maxFiles}`], { input })).toMatchObject({ status: 0 });
  const read = () => {
    const reader = new LogReader(log);
    const pieces = [...reader.read()];
    reader.close();
    return pieces;
  };

  test('every byte comes back, in pieces that end with a line or a chunk', () => {
    const some = Buffer.concat(Array.from({ length: 4000 }, (_, i) => createHash('sha512').update(`${i}`).digest()));
    write(some);
    const pieces = read();
    expect(Buffer.concat(pieces.map(({ bytes }) => bytes)).equals(some)).toBe(true);
    for (const { bytes } of pieces) {
      expect(bytes.length).toBeLessThanOrEqual(CHUNK);
      expect([-1, bytes.length - 1]).toContain(bytes.indexOf(10));
    }
  });

  test('each line is JSON by itself, with a time of nine digits', () => {
    write('plain\n"quoted" \\ and \t tab\n\x00\x1f\x7f é\nno end');
    const lines = readFileSync(`${log}/container.log`, 'utf8').trimEnd().split('\n');
    const parsed = lines.map((line) => JSON.parse(line) as Record<string, string>);
    expect(parsed.map((each) => each.log)).toEqual([
      'plain\n',
      '"quoted" \\ and \t tab\n',
      '\x00\x1f\x7f é\n',
      'no end',
    ]);
    for (const { stream, time } of parsed) {
      expect(stream).toBe('stdout');
      expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
    }
    expect(statSync(`${log}/container.log`).mode & 0o777).toBe(0o600);
  });

  test('what grows most in JSON fits: a chunk of nothing but control characters, and one of nothing but line feeds', () => {
    write(Buffer.alloc(3 * CHUNK, 1));
    write(Buffer.alloc(3 * CHUNK, 10));
    const bytes = Buffer.concat(read().map((piece) => piece.bytes));
    expect(bytes.equals(Buffer.concat([Buffer.alloc(3 * CHUNK, 1), Buffer.alloc(3 * CHUNK, 10)]))).toBe(true);
  });

  test('a full file is put aside, the oldest goes', () => {
    const text = Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join('');
    write(text, 100_000, 3);
    expect(readdirSync(log).sort()).toEqual(['container.log', 'container.log.1', 'container.log.2']);
    for (const name of ['container.log.1', 'container.log.2']) {
      const { size } = statSync(`${log}/${name}`);
      expect(size).toBeGreaterThanOrEqual(100_000);
      expect(size).toBeLessThan(100_000 + 200);
    }
    const kept = read().map(({ bytes }) => bytes.toString());
    expect(text.endsWith(kept.join(''))).toBe(true);
    expect(kept.length).toBeGreaterThan(2000);
  });

  test('with one file only, it begins anew', () => {
    write(Array.from({ length: 3000 }, (_, i) => `line ${i}\n`).join(''), 100_000, 1);
    expect(readdirSync(log)).toEqual(['container.log']);
    expect(read().at(-1)!.bytes.toString()).toBe('line 2999\n');
  });
});
