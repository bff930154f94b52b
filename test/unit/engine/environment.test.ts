import { describe, expect, it } from 'vitest';
import { parseEnvFile } from '../../../src/engine/environment.ts';
import { fakeHost, problemOf, problemsOf, specOf } from './support.ts';

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const envOf = (...args: Parameters<typeof specOf>) => specOf(...args).spec.process?.env;

describe('environment', () => {
  it('has PATH and HOSTNAME, and TERM with a terminal', () => {
    expect(envOf()).toEqual([path, 'HOSTNAME=0123456789ab']);
    expect(envOf({}, { terminal: true })).toContain('TERM=xterm');
    expect(envOf({ hostname: 'web' })).toContain('HOSTNAME=web');
  });

  it('lets the image, the files and -e win in this order', () => {
    const host = fakeHost({ files: { '/work/here/a.env': 'A=file\nB=file\nC=file\n', '/b.env': 'B=file2\n' } });
    const image = { Env: ['PATH=/bin', 'A=image', 'Z=image'] };
    const options = { envFile: ['a.env', '/b.env'], env: ['C=x', 'C=option', 'EMPTY=', 'EQ=a=b'] };
    expect(envOf(options, { image, host })).toEqual([
      'PATH=/bin',
      'HOSTNAME=0123456789ab',
      'A=file',
      'Z=image',
      'B=file2',
      'C=option',
      'EMPTY=',
      'EQ=a=b',
    ]);
  });

  it("takes the host's value for a bare name, and removes the variable when the host has none", () => {
    const host = fakeHost({ env: { GIVEN: 'of host', EMPTY: '' } });
    const image = { Env: ['GONE=1', 'GIVEN=image'] };
    expect(envOf({ env: ['GIVEN', 'EMPTY', 'GONE', 'NEVER'] }, { host, image })).toEqual([
      path,
      'HOSTNAME=0123456789ab',
      'GIVEN=of host',
      'EMPTY=',
    ]);
  });

  it('refuses what has no name', () => {
    expect(problemsOf(() => envOf({ env: ['=x', ''] }))).toHaveLength(2);
  });

  it('ignores image entries that are no settings, and refuses a NUL', () => {
    expect(envOf({}, { image: { Env: ['BARE', '=x', 'A=1'] } })).toEqual([path, 'HOSTNAME=0123456789ab', 'A=1']);
    expect(problemOf(() => envOf({}, { image: { Env: ['A=1\0B=2'] } }))).toContain('NUL');
  });
});

describe('parseEnvFile', () => {
  const read = (text: string | Uint8Array, env = {}) => parseEnvFile('/f', fakeHost({ files: { '/f': text }, env }));

  it("reads docker's format: comments, raw values, bare names, CRLF and a byte order mark", () => {
    const text = '\ufeffA=1\r\n# c\n  #d\n\n  B = x \nQ="q"\nHOME\nNONE\nE=\nC=a # b';
    expect(() => read(text)).toThrow("the name 'B ' has a space in it");
    expect(read(text.replace('B = x ', 'B= x '), { HOME: '/root' })).toEqual([
      ['A', '1'],
      ['B', ' x '],
      ['Q', '"q"'],
      ['HOME', '/root'],
      ['E', ''],
      ['C', 'a # b'],
    ]);
  });

  it('names the line of a mistake', () => {
    expect(problemOf(() => read('A=1\n=2\n'))).toContain('--env-file /f:2 has no name');
    expect(problemOf(() => read('A=1\nB=\0\n'))).toContain('--env-file /f:2: B has a NUL byte');
  });

  it('refuses a missing file and one that is not UTF-8', () => {
    expect(problemOf(() => parseEnvFile('gone', fakeHost()))).toMatch(/--env-file gone can't be read: ENOENT/);
    expect(problemOf(() => read(new Uint8Array([65, 61, 0xff])))).toContain('is not UTF-8');
  });
});
