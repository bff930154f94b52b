import { describe, expect, it } from 'vitest';
import { processArgs, workingDirectory } from '../../../src/engine/command.ts';
import type { ImageConfig } from '../../../src/image/config.ts';
import { problemOf, runOptions } from './support.ts';

const image: ImageConfig = { Entrypoint: ['/entry', '-x'], Cmd: ['serve'] };

function args(entrypoint: string | undefined, command: string[], from: ImageConfig): string[] {
  return processArgs(runOptions(entrypoint === undefined ? {} : { entrypoint }), command, from);
}

describe('processArgs', () => {
  it.each([
    ['image only', undefined, [], image, ['/entry', '-x', 'serve']],
    ['a command replaces Cmd', undefined, ['a', 'b'], image, ['/entry', '-x', 'a', 'b']],
    ['--entrypoint takes Cmd away', '/other', [], image, ['/other']],
    ['--entrypoint with a command', '/other', ['a'], image, ['/other', 'a']],
    ["--entrypoint ''", '', ['a'], image, ['a']],
    ['no entrypoint', undefined, [], { Cmd: ['sh'] }, ['sh']],
    ['an empty argument stays', undefined, ['echo', ''], {}, ['echo', '']],
  ] as const)('%s', (_, entrypoint, command, from, expected) => {
    expect(args(entrypoint, [...command], from as ImageConfig)).toEqual(expected);
  });

  it('needs something to execute', () => {
    expect(problemOf(() => args(undefined, [], {}))).toContain('the image has none');
    expect(problemOf(() => args('', [], image))).toContain('--entrypoint takes');
    expect(problemOf(() => args(undefined, [''], {}))).toContain('empty word');
  });
});

describe('workingDirectory', () => {
  it("is -w, else the image's, else /", () => {
    expect(workingDirectory(runOptions(), {})).toBe('/');
    expect(workingDirectory(runOptions(), { WorkingDir: '' })).toBe('/');
    expect(workingDirectory(runOptions(), { WorkingDir: '/srv/' })).toBe('/srv');
    expect(workingDirectory(runOptions({ workdir: '/a/./b/../c' }), { WorkingDir: '/srv' })).toBe('/a/c');
  });

  it('has to be absolute', () => {
    expect(problemOf(() => workingDirectory(runOptions({ workdir: 'x' }), {}))).toContain(
      "--workdir 'x' is not an abs",
    );
    expect(problemOf(() => workingDirectory(runOptions({ workdir: '' }), {}))).toContain("--workdir ''");
    expect(problemOf(() => workingDirectory(runOptions(), { WorkingDir: 'x' }))).toContain(
      "the image's WorkingDir 'x'",
    );
  });
});
