/** Names: the container's, the host name, user and groups, labels, the stop signal. Pure. */
import { didYouMean } from './nearest.ts';
import { UsageError } from './usage-error.ts';

/** 2^32 - 1 means "no change" to setresuid(2), so it is nobody's id. */
const maxId = 0xfffffffe;
const accountName = /^[A-Za-z_][A-Za-z0-9_.@-]{0,63}\$?$/;
const hostLabel = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
const hostName = new RegExp(`^${hostLabel}(?:\\.${hostLabel})*$`);

function isIdOrName(part: string): boolean {
  if (/^(?:0|[1-9]\d*)$/.test(part)) return Number(part) <= maxId;
  return accountName.test(part);
}

/**
 * Checks `user[:group]`, each a name or a decimal id. Nothing is guessed: what is not exactly that is an error, so no
 * mistyped user ends up as root (SEC-15). The names are looked up later, in the container's own passwd and group.
 * @throws UsageError
 */
export function checkUser(option: string, text: string): string {
  const parts = text.split(':');
  if (parts.length <= 2 && parts.every(isIdOrName)) return text;
  const rule = `each part is a name or a decimal id from 0 to ${maxId}, and none is empty`;
  throw new UsageError(`${option} '${text}' is not user[:group]: ${rule}`);
}

/** Checks one supplementary group, a name or a decimal id. @throws UsageError */
export function checkGroup(text: string): string {
  if (isIdOrName(text)) return text;
  throw new UsageError(`--group-add '${text}' is neither a group name nor a decimal id from 0 to ${maxId}`);
}

/** True for dot-separated labels of letters, digits, '-' and '_' (RFC 1123, and the underscore docker allows). */
export function isHostName(text: string, maxLength: number): boolean {
  return text.length <= maxLength && hostName.test(text);
}

/** Checks a host name; the kernel takes 64 bytes (sethostname(2)). @throws UsageError */
export function checkHostname(text: string): string {
  if (isHostName(text, 64)) return text;
  const rule = "at most 64 letters, digits, '-', '_' and '.', no label beginning or ending with '-'";
  throw new UsageError(`--hostname '${text}' is not a host name: ${rule}`);
}

/** docker's grammar of a container's name; it is a file's name as well, and no path. */
export const isName = (text: string): boolean => /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/.test(text);

/** Checks a container name. @throws UsageError */
export function checkName(text: string): string {
  if (isName(text)) return text;
  throw new UsageError(
    `--name '${text}' is not a container name: 2 to 128 letters, digits, '_', '.' and '-', the first a letter or digit`,
  );
}

/** Reads `key=value`; `key` alone has the value ''. @throws UsageError for an empty key */
export function parseLabel(text: string): [string, string] {
  const [key, value] = cut(text, '=');
  if (key.trim() === '') throw new UsageError(`--label '${text}' has no key: give key=value`);
  return [key, value ?? ''];
}

/** Splits at the first separator; the second part is undefined when there is none. */
export function cut(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** First and last real-time signal for users of glibc and musl alike, as docker numbers them (signal(7)). */
const realTime = { min: 34, max: 64 };

/** Loaded when a signal is named: half a millisecond. */
const signals = (): Record<string, number> => process.getBuiltinModule('node:os').constants.signals;

function signalNumber(text: string): number | undefined {
  if (/^[1-9]\d?$/.test(text)) return Number(text) <= realTime.max ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^SIG/, '');
  const relative = /^(?:RTMIN(?:\+(\d{1,2}))?|RTMAX(?:-(\d{1,2}))?)$/.exec(name);
  if (!relative) return signals()[`SIG${name}`];
  const number = name.startsWith('RTMIN')
    ? realTime.min + Number(relative[1] ?? 0)
    : realTime.max - Number(relative[2] ?? 0);
  return number >= realTime.min && number <= realTime.max ? number : undefined;
}

/** Reads a signal: `SIGTERM`, `term`, `15`, `RTMIN+3`. @returns its number @throws UsageError */
export function parseSignal(option: string, text: string): number {
  const number = signalNumber(text);
  if (number !== undefined) return number;
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`;
  const near = didYouMean(name, Object.keys(signals()));
  throw new UsageError(`${option} '${text}' is not a signal: give a name or a number from 1 to 64${near}`);
}

/** SIGTERM for 15; a number without a name of its own as it is. */
export function signalName(number: number): string {
  return Object.entries(signals()).find(([, value]) => value === number)?.[0] ?? String(number);
}
