/** What a registry's refusal means for people: who was asked for what, as whom, and what to do. Host side. */
import { STATUS_CODES } from 'node:http';
import { headerOf, parseObject, readWhole } from './document.ts';
import { printable, RegistryError } from './failure.ts';
import type { Answer } from './transport.ts';

export interface Asked {
  /** docker.io, or "10.0.0.1:5000 (mirror of docker.io)". */
  registry: string;
  /** What `tinyctr login` takes. */
  server: string;
  /** "pull library/alpine:3.19" */
  what: string;
  /** "anonymous users", or 'user "joe" (credentials from FILE)'. */
  who: string;
  anonymous: boolean;
  /** A file of whoever called sudo that has credentials for this registry. */
  notRead?: string | undefined;
}

const MOST_ERROR_BYTES = 64 * 1024;

/** Reads the body. Never throws: an error that can't be read is shown by its status alone. */
export async function explainStatus(answer: Answer, asked: Asked): Promise<RegistryError> {
  const said = await readErrors(answer);
  const { status } = answer;
  const because = said === '' ? '' : `: ${said}`;
  const { registry, what, who } = asked;
  if (status === 401 || status === 403)
    return new RegistryError(`${registry} does not let ${who} ${what}${because}`, { status, hint: loginHint(asked) });
  if (status === 404) return new RegistryError(`${registry} can't ${what}: there is none${because}`, { status });
  if (status === 429) return explainLimit(answer, asked, because);
  const text = `${status} ${STATUS_CODES[status] ?? ''}`.trim();
  return new RegistryError(`${registry} answers ${text} to: ${what}${because}`, {
    status,
    transient: status >= 500 && status !== 501,
    retryAfterMs: status >= 500 ? retryAfterMs(answer) : undefined,
  });
}

function loginHint({ server, anonymous, notRead }: Asked): string {
  const command = `tinyctr login ${server}`;
  if (anonymous && notRead !== undefined)
    return `with sudo root's credentials count, and these are in ${notRead}: sudo ${command}`;
  return anonymous
    ? `the name may be wrong, or it is private: ${command}`
    : `the name may be wrong, or the user has no rights there; another user: ${command}`;
}

function explainLimit(answer: Answer, { registry, server, who, anonymous }: Asked, because: string): RegistryError {
  const waitMs = retryAfterMs(answer);
  const when = waitMs === undefined ? '' : `; it says to wait ${Math.ceil(waitMs / 1000)} s`;
  return new RegistryError(`${registry} takes no more requests of ${who} for now${because}${when}`, {
    status: 429,
    transient: true,
    retryAfterMs: waitMs,
    hint: anonymous
      ? `users who log in are allowed more: tinyctr login ${server}; a mirror (TINYCTR_MIRROR) has no such limit`
      : undefined,
  });
}

/** Seconds or a date; RFC 9110, 10.2.3. */
function retryAfterMs(answer: Answer): number | undefined {
  const value = headerOf(answer, 'retry-after');
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** The messages of {"errors": [{code, message}]}; '' for anything else. Source: OCI distribution-spec, Error Codes. */
async function readErrors(answer: Answer): Promise<string> {
  const bytes = await readWhole(answer, MOST_ERROR_BYTES, 'the error').catch(() => Buffer.alloc(0));
  const { errors, details } = parseObject(bytes) ?? {};
  if (!Array.isArray(errors)) return typeof details === 'string' ? printable(details) : '';
  const texts = errors.map((error: { code?: unknown; message?: unknown } | null) =>
    [error?.code, error?.message].filter((part) => typeof part === 'string' && part !== '').join(': '),
  );
  return printable(texts.filter((text) => text !== '').join('; '));
}
