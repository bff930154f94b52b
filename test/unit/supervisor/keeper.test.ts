/** The twins native-shim/keeper.h and src/supervisor/keeper.ts say the same. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { KEEPER_LOCK } from '../../../src/engine/container-facts.ts';
import { LOG_NAME } from '../../../src/engine/logs.ts';
import * as keeper from '../../../src/supervisor/keeper.ts';
import { SOCKET_NAME } from '../../../src/supervisor/protocol.ts';
import { needs } from '../../support/need.ts';
import { checkFacts, compilers } from '../core/kernel/c-facts.ts';

const nativeShim = new URL('../../../native-shim/', import.meta.url).pathname;
const header = readFileSync(`${nativeShim}keeper.h`, 'utf8');

test('the keeper has less than 200 lines of code', () => {
  const text = readFileSync(`${nativeShim}keeper.c`, 'utf8').replaceAll(/\/\*.*?\*\//gs, '');
  expect(text.split('\n').filter((line) => line.trim() !== '').length).toBeLessThan(200);
});

describe('keeper.h', () => {
  test('names', () => {
    expect(header).toContain(`#define SOCKET_NAME "${SOCKET_NAME}"`);
    expect(header).toContain(`#define LOCK_NAME "${KEEPER_LOCK}"`);
    expect(header).toContain(`#define KEEPER_VERSION ${keeper.KEEPER_VERSION} `);
    expect(readFileSync(`${nativeShim}json-log.h`, 'utf8')).toContain(`#define LOG_NAME "${LOG_NAME}"`);
  });

  test.each([
    [{ exited: 7 }, 1, 7],
    [{ signal: 9 }, 2, 9],
    [{ signal: 11 }, 3, 11],
    [undefined, 0, 0],
  ])('news of %j', (ended, code, status) => {
    const bytes = Buffer.alloc(keeper.NEWS_SIZE);
    for (const [i, value] of [4711, code, status, -1].entries()) bytes.writeInt32LE(value, 4 * i);
    expect(keeper.decodeNews(bytes)).toEqual({ pid: 4711, ended, input: undefined });
  });

  for (const compiler of compilers)
    test(`sizes and numbers, on ${compiler.arch}`, needs({ command: compiler.command }), () => {
      const facts: [string, number][] = [
        ['sizeof(struct order)', keeper.ORDER_SIZE],
        ['sizeof(struct news)', keeper.NEWS_SIZE],
        ...Object.entries(keeper.orders),
        ...Object.entries(keeper.orderFields).map(([name, at]): [string, number] => [
          `offsetof(struct order, ${name})`,
          at,
        ]),
        ...keeper.keptNames.map((name, i): [string, number] => [name, i]),
        ['KEPT', keeper.keptNames.length],
      ];
      const preamble = `#include <stddef.h>\n#include "${nativeShim}keeper.h"`;
      expect(checkFacts(compiler, preamble, facts)).toEqual({ wrong: [], unknown: [] });
    });
});
