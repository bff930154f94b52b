/** The decoder of the stage's frames against wrong frames (SEC-20), and proof that the fuzzer notices when a check is missing. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../../../support/need.ts';

const nativeShim = fileURLToPath(new URL('../../../../native-shim', import.meta.url));
const sources = ['Makefile', 'protocol.h', 'decode.h', 'sys.h', 'stage.c', 'fuzz.c', 'fuzz-frames.h'];
let scratch: string;

beforeAll(() => {
  scratch = mkdtempSync(`${tmpdir()}/tinyctr-fuzz-`);
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** Builds and runs the fuzzer on a copy of the sources, `edit` applied to one of them. */
function fuzz(name: string, iterations: number, edit?: { file: string; from: string; to: string }) {
  const folder = `${scratch}/${name}`;
  for (const file of sources) cpSync(`${nativeShim}/${file}`, `${folder}/${file}`);
  if (edit) {
    const text = readFileSync(`${folder}/${edit.file}`, 'utf8');
    expect(text.split(edit.from)).toHaveLength(2);
    writeFileSync(`${folder}/${edit.file}`, text.replace(edit.from, edit.to));
  }
  const built = spawnSync('make', ['-s', '-C', folder, 'fuzz'], { encoding: 'utf8' });
  expect(built.status === 0 ? '' : built.stderr).toBe('');
  if (built.stderr !== '') console.warn(built.stderr);
  return spawnSync(`${folder}/build/fuzz`, ['20261121', String(iterations)], { encoding: 'utf8' });
}

describe('frames of every kind', needs({ command: ['cc', 'make'] }), () => {
  test('none makes the stage leave its frame, and valid ones are carried out', { timeout: 60_000 }, () => {
    const { status, stdout, stderr } = fuzz('whole', 150_000);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [, frames, accepted, calls] = /^fuzz: (\d+) frames, (\d+) carried out, (\d+) calls\n$/
      .exec(stdout)!
      .map(Number);
    expect(frames).toBe(150_000);
    expect(accepted).toBeGreaterThan(40_000);
    expect(accepted).toBeLessThan(140_000);
    expect(calls).toBeGreaterThan(400_000);
  });

  const removed: [check: string, file: string, from: string, to: string][] = [
    ['length of the frame', 'decode.h', 'request->length != got', '0'],
    ['sum of the lengths', 'decode.h', 'head + request->data_length != got', 'head > got'],
    ['number of calls', 'decode.h', 'request->calls > MAX_CALLS', '0'],
    ['last zero', 'decode.h', 'data[length - 1] != 0', '0'],
    ['room for what comes back', 'decode.h', '!within(request->out_offset, request->out_length, length)', '0'],
    ['size of the reply', 'decode.h', '> MAX_REPLY)', '> MAX_FRAME)'],
    ['place of a relocation', 'decode.h', '!within(relocation->at, 8, length)', '0'],
    ['alignment of a relocation', 'decode.h', 'relocation->at % 8 != 0', '0'],
    ['target of a relocation', 'decode.h', '!within(relocation->target, 1, length)', '0'],
    ['offset of an argument', 'decode.h', 'call->args[arg] >= length', '0'],
    ['index of an earlier call', 'decode.h', 'call->args[arg] >= i', '0'],
    ['meaningless bits', 'decode.h', 'call->flags & ~CALL_FORKS', '0'],
    ['sum in 64 bits', 'decode.h', 'uint64_t size, uint32_t length', 'uint32_t size, uint32_t length'],
    ['number of descriptors', 'stage.c', '!request || request->descriptors != came_count', '!request'],
  ];
  test.each(removed)('a missing check is found: %s', { timeout: 60_000 }, (check, file, from, to) => {
    const { status, signal, stdout, stderr } = fuzz(check.replaceAll(' ', '-'), 150_000, { file, from, to });
    expect({ stdout, ended: status !== 0 || signal !== null }).toEqual({ stdout: '', ended: true });
    expect(`${stderr}${signal}`).toMatch(/fuzz: frame|Sanitizer|runtime error|SIG/);
  });
});
