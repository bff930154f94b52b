/** Errors become text here, and only here: what failed and why, the call below it, a proven hint; or the same as JSON. */
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { UsageError } from '../engine/usage-error.ts';
import type { Globals } from './globals.ts';

/** Prints one error. Returns the exit status: 125, or 126 and 127 where the command itself is at fault. */
export async function printError(error: unknown, globals: Globals): Promise<number> {
  const code = error instanceof ContainerError ? error.exitCode : 125;
  if (globals.logFormat === 'json') {
    const { logger } = await import('./log.ts');
    logger(globals).error(errorFields(error), messageOf(error));
  } else process.stderr.write(`${errorLines(error, globals.debug).join('\n')}\n`);
  return code;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function errorLines(error: unknown, debug: boolean): string[] {
  const problems = error instanceof UsageError ? error.problems : [messageOf(error)];
  const lines = problems.map((problem) => `tinyctr: ${problem}`);
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause !== error && !(cause instanceof SyscallError)) lines.push(`  because: ${cause.message}`);
    if (cause instanceof SyscallError) {
      if (cause !== error) lines.push(`  call: ${cause.message}`);
      lines.push(`  where: ${cause.facts.side}${cause.facts.step ? `, step ${cause.facts.step}` : ''}`);
    }
    if (cause instanceof ContainerError) {
      if (cause.specPointer) lines.push(`  in config.json: ${cause.specPointer}`);
      if (cause.hint) lines.push(`  hint: ${cause.hint}`);
    }
    if (debug && cause.stack) lines.push(cause.stack);
  }
  return lines;
}

function errorFields(error: unknown): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof SyscallError) Object.assign(fields, cause.facts, { code: cause.code });
    if (cause instanceof ContainerError) {
      if (cause.hint) fields.hint ??= cause.hint;
      if (cause.specPointer) fields.specPointer ??= cause.specPointer;
    }
  }
  return fields;
}
