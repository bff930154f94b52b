import { describe, expect, test } from 'vitest';
import { nameFile } from '../../../src/image/layout.ts';
import { familiarName, parseReference } from '../../../src/image/reference.ts';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('references as docker reads them', () => {
  test.each([
    ['alpine', 'docker.io', 'library/alpine', 'latest', 'alpine:latest'],
    ['alpine:3.20', 'docker.io', 'library/alpine', '3.20', 'alpine:3.20'],
    ['someone/thing', 'docker.io', 'someone/thing', 'latest', 'someone/thing:latest'],
    ['docker.io/alpine', 'docker.io', 'library/alpine', 'latest', 'alpine:latest'],
    ['index.docker.io/library/alpine', 'docker.io', 'library/alpine', 'latest', 'alpine:latest'],
    ['docker.io/library/a/b', 'docker.io', 'library/a/b', 'latest', 'library/a/b:latest'],
    ['localhost/x', 'localhost', 'x', 'latest', 'localhost/x:latest'],
    ['localhost:5000/a/b:v1', 'localhost:5000', 'a/b', 'v1', 'localhost:5000/a/b:v1'],
    ['quay.io/a/b', 'quay.io', 'a/b', 'latest', 'quay.io/a/b:latest'],
    ['Host/x', 'Host', 'x', 'latest', 'Host/x:latest'],
    ['[::1]:5000/x', '[::1]:5000', 'x', 'latest', '[::1]:5000/x:latest'],
    ['a__b--c.d_e', 'docker.io', 'library/a__b--c.d_e', 'latest', 'a__b--c.d_e:latest'],
  ])('%s', (text, domain, path, tag, familiar) => {
    const reference = parseReference(text);
    expect(reference).toEqual({ domain, path, tag });
    expect(familiarName(reference)).toBe(familiar);
    expect(parseReference(familiar)).toEqual(reference);
  });

  test('a digest counts, a tag before it does not', () => {
    const expected = { domain: 'docker.io', path: 'library/alpine', digest };
    expect(parseReference(`alpine@${digest}`)).toEqual(expected);
    expect(parseReference(`alpine:3.20@${digest}`)).toEqual(expected);
    expect(familiarName(expected)).toBe(`alpine@${digest}`);
  });

  test.each([
    ['', 'parts divided by /'],
    ['Alpine', 'lowercase'],
    ['a//b', 'parts divided by /'],
    ['-a', 'parts divided by /'],
    ['a..b', 'parts divided by /'],
    ['../a', 'no host name'],
    ['a/../b', 'parts divided by /'],
    ['./a', 'no host name'],
    ['a:', 'a tag has'],
    ['a:.b', 'a tag has'],
    [`a:${'x'.repeat(129)}`, 'a tag has'],
    ['a@sha256:12', 'a digest is'],
    [`a@sha512:${'0'.repeat(128)}`, 'a digest is'],
    ['a b', 'parts divided by /'],
    ['-host.com/a', 'no host name'],
    ['host:port/a', 'no host name'],
    ['x'.repeat(260), 'at most 255'],
    ['0123456789abcdef'.repeat(4), 'an image id'],
  ])('%j is refused', (text, why) => {
    expect(() => parseReference(text)).toThrow(why);
  });

  test('names of all sorts get files of their own, inside the folder of names', () => {
    const names = ['a', 'a:b', 'a/b:c', 'a/b/c:d', 'localhost:5000/a', `a@${digest}`, 'localhost:5000/a/b'];
    const files = names.map((name) => nameFile('/store', parseReference(name)));
    expect(new Set(files).size).toBe(names.length);
    for (const file of files) expect(file).toMatch(/^\/store\/names\/[^/.]/);
    expect(files[0]).toBe('/store/names/docker.io/library/a/:latest');
  });
});
