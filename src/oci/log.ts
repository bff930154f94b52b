/** What clients read: the log file in runc's two formats, and standard error for people. */
import { appendFileSync, closeSync, openSync, writeSync } from 'node:fs';
import { errorLines } from '../cli/errors.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { formatCall } from '../core/stage/format.ts';
import type { Observer } from '../core/stage/stage.ts';
import { didYouMean } from '../engine/nearest.ts';
import { UsageError } from '../engine/usage-error.ts';
import type { Findings } from '../spec/validate.ts';
import type { Globals } from './globals.ts';

type Level = 'error' | 'warning' | 'debug';

function logLine({ logFormat }: Globals, level: Level, msg: string): string {
  const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  if (logFormat === 'json') return `${JSON.stringify({ level, msg, time })}\n`;
  return `time=${JSON.stringify(time)} level=${level} msg=${JSON.stringify(msg)}\n`;
}

/** Not process.stderr: Node would make a pipe non-blocking, for the container too. */
function toStderr(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // nobody reads it: EPIPE
  }
}

function write(globals: Globals, level: Level, msg: string, forPeople: string): void {
  if (globals.log) appendFileSync(globals.log, logLine(globals, level, msg));
  else toStderr(globals.logFormat === 'json' ? logLine(globals, level, msg) : forPeople);
}

export function warn(globals: Globals, message: string): void {
  write(globals, 'warning', message, `tinyctr-oci: warning: ${message}\n`);
}

/** With --debug. On standard error as well it is an entry of a log. */
export function debug(globals: Globals, message: string): void {
  if (globals.debug) write(globals, 'debug', message, logLine(globals, 'debug', message));
}

/** A log that can't be written is an error before anything happens. crun's clients name the kind in front: there is `file:`. */
export function openLog(globals: Globals): void {
  try {
    if (globals.log) closeSync(openSync(globals.log, 'a', 0o644));
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENXIO') throw error; // a socket, by a name such as /dev/stderr
  }
}

/** Where warnings go, and which of them are errors. */
export interface Reporter {
  warn: (message: string) => void;
  strict: boolean;
}

export function reporter(globals: Globals): Reporter {
  return { strict: globals.strict, warn: (message) => warn(globals, message) };
}

/** What a file of a client's has that OCI does not know. @throws UsageError with all of them, if it is to be strict */
export function reportUnknown({ strict, warn }: Reporter, file: string, unknown: Findings['unknown']): void {
  const texts = unknown.map(({ pointer, name, known }) => [`${file}: ${pointer} is unknown`, didYouMean(name, known)]);
  if (strict && unknown.length > 0) throw new UsageError(texts.map(([is, hint]) => `${is}${hint}`));
  for (const [is, hint] of texts) warn(`${is} and ignored${hint}`);
}

/** One error, however many problems it has: one entry in the log. With a log file, people still get it on standard error. */
export function printError(error: unknown, globals: Globals): void {
  const lines = errorLines(error, globals.debug).map((line) => line.replace(/^tinyctr:/, 'tinyctr-oci:'));
  const people = `${lines.join('\n')}\n`;
  const stackless = globals.debug ? errorLines(error, false) : lines;
  const msg = stackless.map((line) => line.replace(/^(tinyctr(-oci)?:)?\s*/, '')).join('; ');
  try {
    write(globals, 'error', msg, people);
  } catch (fault) {
    toStderr(`tinyctr-oci: the log can't be written: ${(fault as Error).message}\n`);
  }
  if (globals.log) toStderr(people);
}

/** --trace, or --debug: every system call of the stage. */
export function observer(globals: Globals): Observer | undefined {
  if (globals.watch) return globals.watch;
  if (!globals.debug) return undefined;
  return ({ step, name, args, result }) => {
    const call = `${step.id.padEnd(24)} ${formatCall(name, args)} = ${result}`;
    debug(globals, call);
  };
}

/** A command that the kernel won't execute, as clients look for it: runc's words in one line. The call says nothing more. */
export function withoutCall(error: unknown): unknown {
  if (!(error instanceof ContainerError && error.cause instanceof SyscallError)) return error;
  const [, quoted, why] = /^exec: ("(?:[^"\\]|\\.)*")(: .*)$/s.exec(error.message) ?? [];
  if (quoted === undefined) return error;
  const { exitCode, hint } = error;
  return new ContainerError(`exec ${JSON.parse(quoted)}${why}`, { exitCode, hint });
}
