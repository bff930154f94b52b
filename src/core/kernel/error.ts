/** The errors of core: what could not be done, and the facts around it as data. Printed once, at the top (src/cli/errors.ts). */
import { errnoName, errnoText } from './errno.ts';

export type Side = 'host' | 'stage';

export interface SyscallFacts {
  /** The system call's name, as in section 2 of the manual. */
  syscall: string;
  /** The call as strace would print it. */
  call: string;
  /** Positive. */
  errno: number;
  side: Side;
  /** The step of src/core/init or launch during which it failed. */
  step?: string;
}

/** A system call that failed with an errno nobody tolerated. `code` is the errno's name. */
export class SyscallError extends Error {
  readonly facts: SyscallFacts;
  readonly code: string;

  constructor(facts: SyscallFacts) {
    super(`${facts.call} = -1 ${errnoName(facts.errno)} (${errnoText(facts.errno)})`);
    this.name = 'SyscallError';
    this.facts = facts;
    this.code = errnoName(facts.errno);
  }
}

/** What a caller of tinyctr did wrong or the host can't give: one sentence, perhaps a proven hint and the failed call as cause. */
export class ContainerError extends Error {
  /** A fact read from the host that explains the failure, or the fix. */
  readonly hint: string | undefined;
  /** JSON pointer into config.json of what is at fault. */
  readonly specPointer: string | undefined;
  /** 125 unless the command itself is at fault: 126 can't be executed, 127 not found. */
  readonly exitCode: number;

  constructor(
    message: string,
    more: { hint?: string | undefined; specPointer?: string | undefined; cause?: unknown; exitCode?: number } = {},
  ) {
    super(message, 'cause' in more ? { cause: more.cause } : undefined);
    this.name = 'ContainerError';
    this.hint = more.hint;
    this.specPointer = more.specPointer;
    this.exitCode = more.exitCode ?? 125;
  }
}
