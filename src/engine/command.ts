/** What the container executes, and where: entrypoint, command and working directory. Pure. */
import { posix } from 'node:path';
import type { ImageConfig } from '../image/config.ts';
import type { RunOptions } from './options.ts';
import { UsageError } from './usage-error.ts';

/**
 * The entrypoint followed by the command. A command replaces the image's Cmd; --entrypoint replaces the image's
 * Entrypoint and takes its Cmd away, `--entrypoint ''` takes both away.
 * @throws UsageError when nothing is left to execute
 */
export function processArgs(options: RunOptions, command: readonly string[], image: ImageConfig): string[] {
  const given = options.entrypoint;
  const entrypoint = entrypointOf(options, image);
  const useImageCmd = given === undefined && command.length === 0;
  const args = [...entrypoint, ...(useImageCmd ? (image.Cmd ?? []) : command)];
  if (args.length > 0) {
    if (args[0] !== '') return args;
    throw new UsageError('the command is an empty word: give the name or path of a program');
  }
  throw new UsageError(
    given === undefined
      ? 'no command given, and the image has none: write one after the image name, such as /bin/sh'
      : "no command given: --entrypoint takes the image's command away, so write one after the image name",
  );
}

export function entrypointOf({ entrypoint: given }: RunOptions, image: ImageConfig): string[] {
  return given === undefined ? (image.Entrypoint ?? []) : given === '' ? [] : [given];
}

/** The working directory, absolute and without `.` and `..`; `/` by default. @throws UsageError when it is relative */
export function workingDirectory(options: Pick<RunOptions, 'workdir'>, image: ImageConfig): string {
  const [text, from] = options.workdir !== undefined ? [options.workdir, '--workdir'] : [image.WorkingDir || '/', ''];
  if (!text.startsWith('/')) {
    throw new UsageError(`${from || "the image's WorkingDir"} '${text}' is not an absolute path, such as /srv`);
  }
  return posix.resolve(text);
}
