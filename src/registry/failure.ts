/** The errors of registries: one sentence for people, and for callers what kind it is. Pure. */
import { ContainerError } from '../core/kernel/error.ts';

export interface FailureFacts {
  hint?: string | undefined;
  cause?: unknown;
  /** HTTP's; absent where no answer came. */
  status?: number | undefined;
  /** Worth another attempt: the next one may go well. */
  transient?: boolean;
  /** The server's Retry-After, in milliseconds. */
  retryAfterMs?: number | undefined;
}

export class RegistryError extends ContainerError {
  readonly status: number | undefined;
  readonly transient: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, facts: FailureFacts = {}) {
    super(message, facts);
    this.name = 'RegistryError';
    this.status = facts.status;
    this.transient = facts.transient ?? false;
    this.retryAfterMs = facts.retryAfterMs;
  }

  /** The same, with the number of attempts. */
  after(tries: number): RegistryError {
    return this.extended(` (${tries} attempts)`);
  }

  /** The same, with something more to say. */
  with(more: string): RegistryError {
    return this.extended(`; ${more}`);
  }

  private extended(more: string): RegistryError {
    const { status, transient, retryAfterMs, hint, cause } = this;
    const causeFacts = cause === undefined ? {} : { cause };
    return new RegistryError(this.message + more, { status, transient, retryAfterMs, hint, ...causeFacts });
  }
}

const MOST_SHOWN = 200;

/** What a server sent, fit for a terminal: no control characters, nothing that reorders or hides text, not too long. */
export function printable(text: string): string {
  const plain = text.replace(/[\p{C}\p{Z}]+/gu, (run) => (/^\s+$/.test(run) ? ' ' : '?')).trim();
  return plain.length > MOST_SHOWN ? `${plain.slice(0, MOST_SHOWN)}…` : plain;
}
