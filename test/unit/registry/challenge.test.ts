/** WWW-Authenticate as registries send it, and as nobody should; text of servers, made fit for a terminal. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseChallenges } from '../../../src/registry/challenge.ts';
import { printable } from '../../../src/registry/failure.ts';

test.each([
  ['Basic realm="x"', [{ scheme: 'basic', parameters: { realm: 'x' } }]],
  ['Basic', [{ scheme: 'basic', parameters: {} }]],
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    [
      {
        scheme: 'bearer',
        parameters: {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:a/b:pull,push',
        },
      },
    ],
  ],
  ['bearer REALM=x , Service = "a \\"b\\""', [{ scheme: 'bearer', parameters: { realm: 'x', service: 'a "b"' } }]],
  [
    ['Negotiate', 'Basic realm="b"'],
    [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'b' } },
    ],
  ],
  [
    'Basic realm="a", Bearer realm="b"',
    [
      { scheme: 'basic', parameters: { realm: 'a' } },
      { scheme: 'bearer', parameters: { realm: 'b' } },
    ],
  ],
  ['realm="x"', []],
  ['Bearer realm="unfinished', [{ scheme: 'bearer', parameters: {} }]],
  [undefined, []],
])('%j', (header, challenges) => {
  const found = parseChallenges(header as string | string[] | undefined);
  expect(found.map(({ scheme, parameters }) => ({ scheme, parameters }))).toMatchObject(challenges);
});

test('no text makes it hang or throw', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300, unit: fc.constantFrom(...'Bearer ="\\,x \t') }), (text) => {
      parseChallenges(text);
    }),
  );
  const start = performance.now();
  parseChallenges(`Bearer ${'a="b" '.repeat(2000)}${'"'.repeat(5000)}${'\\'.repeat(5000)}${' '.repeat(5000)}x`);
  expect(performance.now() - start).toBeLessThan(2000);
});

test('what servers say is one short line without tricks', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 500 }), (text) => {
      expect(printable(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      expect(printable(text).length).toBeLessThanOrEqual(201);
    }),
  );
  expect(printable('a\u001b[31mb\r\nc\u202ed')).toBe('a?[31mb c?d');
});
