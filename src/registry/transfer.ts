/** A pull or a push: one repository, many requests that end together. Host side. */
import type { Reference } from '../image/reference.ts';
import { Repository } from './client.ts';

export interface Transfer {
  reference: Reference;
  insecure: boolean;
  /** Ends it with its reason as the error. */
  signal: AbortSignal;
  progress: {
    note(text: string): void;
    end(): void;
  };
}

/**
 * `act` is given the request with a signal that `failure` ends as well: one layer's failure ends the others. Throws what `act` throws, and after
 * an abort its reason.
 */
export async function transfer<R extends Transfer, T>(
  request: R,
  act: (inner: R, repository: Repository, failure: AbortController) => Promise<T>,
): Promise<T> {
  const { reference, insecure, signal, progress } = request;
  const failure = new AbortController();
  const inner = { ...request, signal: AbortSignal.any([signal, failure.signal]) };
  const settings = { warn: (text: string) => progress.note(text) };
  const repository = new Repository(reference, { insecure, signal: inner.signal, settings });
  try {
    return await act(inner, repository, failure);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    progress.end();
    repository.close();
  }
}
