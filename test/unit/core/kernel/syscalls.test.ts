import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { errnoName, errnoNumber, E as errnos, errnoText } from '../../../../src/core/kernel/errno.ts';
import { syscallNames, syscallNumbers } from '../../../../src/core/kernel/syscalls.ts';
import { needs } from '../../../support/need.ts';
import { checkFacts, compilers } from './c-facts.ts';

for (const compiler of compilers)
  describe(`headers of ${compiler.arch}`, needs({ command: compiler.command }), () => {
    test('system call numbers', () => {
      const facts = syscallNames().map((name) => [`__NR_${name}`, syscallNumbers(compiler.arch)(name)] as const);
      expect(facts.length).toBeGreaterThan(60);
      expect(checkFacts(compiler, '#include <asm/unistd.h>', facts)).toEqual({ wrong: [], unknown: [] });
    });

    test('errnos', () => {
      const named = Array.from({ length: 133 }, (_, i) => [errnoName(i + 1), i + 1] as const);
      const facts = [...Object.entries(errnos), ...named.filter(([name]) => name.startsWith('E'))];
      expect(facts.length).toBeGreaterThan(70);
      expect(checkFacts(compiler, '#include <errno.h>', facts)).toEqual({ wrong: [], unknown: [] });
    });

    test('a wrong number is found', () => {
      const facts = [
        ['__NR_mount', 1000],
        ['__NR_no_such_call', 1],
        ['__NR_openat2', 437],
      ] as const;
      const verdict = { wrong: ['__NR_mount'], unknown: ['__NR_no_such_call'] };
      expect(checkFacts(compiler, '#include <asm/unistd.h>', facts)).toEqual(verdict);
    });
  });

test('another architecture is refused by name', () => {
  expect(() => syscallNumbers('riscv64')).toThrow('tinyctr runs on x86-64 and arm64; this machine is riscv64');
});

test('an errno has a name and a text, also an unknown one', () => {
  expect([errnoName(2), errnoText(2)]).toEqual(['ENOENT', 'no such file or directory']);
  expect([errnoNumber('EUCLEAN'), errnoNumber('EAI_AGAIN'), errnoNumber('toString')]).toEqual([
    117,
    undefined,
    undefined,
  ]);
  expect([errnoName(4000), errnoText(4000)]).toEqual(['errno 4000', expect.stringContaining('4000')]);
});

test('every number is of a call that somebody makes', () => {
  const folder = new URL('../../../../', import.meta.url).pathname;
  const files = ['src', 'test'].flatMap((top) =>
    readdirSync(`${folder}${top}`, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mjs)$/.test(name) && !name.endsWith('core/kernel/syscalls.ts'))
      .map((name) => readFileSync(`${folder}${top}/${name}`, 'utf8')),
  );
  const unused = syscallNames().filter((name) => !files.some((text) => text.includes(`'${name}'`)));
  expect(unused).toEqual([]);
});
