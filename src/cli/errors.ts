/** Errors become text here, and only here: what failed and why, the call below it, a proven hint; or the same as JSON. */
import { basename } from 'node:path';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { UsageError } from '../engine/usage-error.ts';
import type { Globals } from './globals.ts';

/** Prints one error. Returns the exit status: 125, or 126 and 127 where the command itself is at fault. */
export async function printError(error: unknown, globals: Globals): Promise<number> {
  const exitCode = error instanceof ContainerError ? error.exitCode : 125;
  if (globals.logFormat === 'json') {
    const { logger } = await import('./log.ts');
    const stack = globals.debug && error instanceof Error ? { stack: error.stack } : {};
    logger(globals).error({ ...errorFields(error), exitCode, ...stack }, sentence(error));
  } else process.stderr.write(`${errorLines(error, globals.debug).join('\n')}\n`);
  return exitCode;
}

/** One line a problem, below it the chain of causes down to the call that failed, the place, the field and the hint. */
export function errorLines(error: unknown, debug: boolean): string[] {
  const problems = error instanceof UsageError ? error.problems : [sentence(error)];
  const lines = problems.map((problem) => `tinyctr: ${problem}`);
  const chain = causes(error);
  for (const cause of chain) {
    if (cause !== error && !(cause instanceof SyscallError)) lines.push(`  because: ${cause.message}`);
    if (cause instanceof SyscallError) lines.push(`  call: ${cause.message}`, `  where: ${place(cause)}`);
  }
  for (const cause of chain) {
    if (!(cause instanceof ContainerError)) continue;
    if (cause.specPointer) lines.push(`  spec field: ${cause.specPointer}`);
    if (cause.hint) lines.push(`  hint: ${cause.hint}`);
  }
  if (foreignFile(error)) lines.push(`  hint: ${asRoot()}`);
  if (debug) for (const { stack } of chain) if (stack) lines.push(stack);
  return lines;
}

/** The same error with other words in front. */
export function prefixed(prefix: string, error: unknown): Error {
  if (error instanceof UsageError) return new UsageError(error.problems.map((problem) => prefix + problem));
  const message = prefix + sentence(error);
  if (!(error instanceof ContainerError)) return new ContainerError(message, { cause: error });
  return Object.assign(new ContainerError(message, error), error.cause === undefined ? {} : { cause: error.cause });
}

/** The same facts as data; of two in the chain the outer one counts. */
export function errorFields(error: unknown): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const cause of causes(error).reverse()) {
    if (cause instanceof SyscallError) Object.assign(fields, cause.facts, { code: cause.code });
    if (cause instanceof ContainerError && cause.hint) fields.hint = cause.hint;
    if (cause instanceof ContainerError && cause.specPointer) fields.specPointer = cause.specPointer;
    if (cause instanceof UsageError) fields.problems = cause.problems;
  }
  const because = causes(error).slice(1);
  return because.length === 0 ? fields : { ...fields, causes: because.map(({ message }) => message) };
}

/** The same once more, with the right to it. */
export function asRoot(): string {
  return `sudo ${basename(process.argv[1]!, '.cjs')} …`;
}

/** The file of root's that another user ran into. */
function foreignFile(error: unknown): string | undefined {
  const { code, path } = error as NodeJS.ErrnoException;
  return code === 'EACCES' && process.geteuid!() !== 0 ? path : undefined;
}

/** What could not be done. A failed call that nothing more is known about is named with its step; the call itself stands below. */
function sentence(error: unknown): string {
  const path = foreignFile(error);
  if (path) return `${path} is not for this user: permission denied`;
  if (!(error instanceof SyscallError)) return error instanceof Error ? error.message : String(error);
  const { syscall, errno, step } = error.facts;
  return `${step ? `step ${step} failed: ` : ''}${syscall}: ${errnoText(errno)}`;
}

function place({ facts: { side, step } }: SyscallError): string {
  const where = side === 'stage' ? 'in the container that was being built' : 'on the host';
  return step ? `${where}, step ${step}` : where;
}

function causes(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let cause = error; cause instanceof Error && !chain.includes(cause); cause = cause.cause) chain.push(cause);
  return chain;
}
