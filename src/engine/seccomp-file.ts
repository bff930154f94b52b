/**
 * `--security-opt seccomp=FILE`: resolves docker's profile format (rules with conditions on capabilities, architecture
 * and kernel) for one container. A plain OCI object is the same format without conditions. Pure.
 */

import { errnoNumber } from '../core/kernel/errno.ts';
import { seccompActions, seccompOperators } from '../seccomp/rules.ts';
import type { Seccomp, SeccompArg, SeccompSyscall } from '../spec/types.ts';
import { UsageError } from './usage-error.ts';

/** What the conditions of a profile are about. */
export interface ProfileFacts {
  /** The bounding set, as CAP_… names. */
  capabilities: readonly string[];
  /** Node's name of the architecture. */
  arch: string;
  /** As uname -r prints it; only the first two numbers count. */
  kernelRelease: string;
}

type Fields = Record<string, unknown>;

const architectures: Readonly<Record<string, readonly [docker: string, oci: string]>> = {
  x64: ['amd64', 'SCMP_ARCH_X86_64'],
  arm64: ['arm64', 'SCMP_ARCH_AARCH64'],
};
const profileFields = ['defaultAction', 'defaultErrnoRet', 'defaultErrno', 'architectures', 'archMap', 'flags'];
const listenerFields = ['listenerPath', 'listenerMetadata', 'syscalls', 'comment'];
const ruleFields = ['names', 'name', 'action', 'errnoRet', 'errno', 'args', 'comment', 'includes', 'excludes'];

/** No agent answers for a container of `tinyctr run`. */
const actions = Object.keys(seccompActions).filter((action) => action !== 'SCMP_ACT_NOTIFY');

/**
 * `profile` is the parsed JSON of `file`. Errors name the file and the JSON pointer of the field.
 * A field that is not part of the format is an error: misspelt, it would be a rule that silently is another one.
 * @throws UsageError
 */
export function resolveSeccompFile(profile: unknown, file: string, facts: ProfileFacts): Seccomp {
  try {
    return resolveProfile(profile, facts);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`seccomp profile ${file}: ${error.message}`);
  }
}

function resolveProfile(profile: unknown, facts: ProfileFacts): Seccomp {
  const top = readFields(profile, '', [...profileFields, ...listenerFields]);
  if (top.architectures !== undefined && top.archMap !== undefined)
    throw new UsageError('it has both architectures and archMap; one of them is allowed');
  const errno = readErrno(top, 'defaultErrnoRet', 'defaultErrno', '');
  return {
    defaultAction: readChoice(top.defaultAction, '/defaultAction', actions),
    ...(errno === undefined ? {} : { defaultErrnoRet: errno }),
    architectures:
      top.archMap === undefined ? readTexts(top.architectures, '/architectures') : mapped(top.archMap, facts),
    flags: readTexts(top.flags, '/flags'),
    ...(top.listenerPath === undefined ? {} : { listenerPath: readText(top.listenerPath, '/listenerPath') }),
    ...(top.listenerMetadata === undefined
      ? {}
      : { listenerMetadata: readText(top.listenerMetadata, '/listenerMetadata') }),
    syscalls: readList(top.syscalls, '/syscalls').flatMap((rule, index) => readRule(rule, `/syscalls/${index}`, facts)),
  };
}

/** The entry for this architecture, with the smaller ones that run beside it; none means just the native one. */
function mapped(archMap: unknown, { arch }: ProfileFacts): string[] {
  for (const [index, entry] of readList(archMap, '/archMap').entries()) {
    const at = `/archMap/${index}`;
    const fields = readFields(entry, at, ['architecture', 'subArchitectures']);
    const main = readText(fields.architecture, `${at}/architecture`);
    if (main === architectures[arch]?.[1])
      return [main, ...readTexts(fields.subArchitectures, `${at}/subArchitectures`)];
  }
  return [];
}

function readRule(rule: unknown, at: string, facts: ProfileFacts): SeccompSyscall[] {
  const fields = readFields(rule, at, ruleFields);
  const names = readTexts(fields.names, `${at}/names`);
  const name = fields.name === undefined || fields.name === '' ? [] : [readText(fields.name, `${at}/name`)];
  if (names.length > 0 && name.length > 0)
    throw new UsageError(`${at} has both name and names; one of them is allowed`);
  const action = readChoice(fields.action, `${at}/action`, actions);
  const errnoRet = readErrno(fields, 'errnoRet', 'errno', at);
  const args = readList(fields.args, `${at}/args`).map((arg, index) => readArg(arg, `${at}/args/${index}`));
  const included = conditions(fields.includes, `${at}/includes`, facts).every(Boolean);
  const excluded = conditions(fields.excludes, `${at}/excludes`, facts).some(Boolean);
  if (!included || excluded) return [];
  return [{ names: [...names, ...name], action, ...(errnoRet === undefined ? {} : { errnoRet }), args }];
}

/** What an includes or excludes asks, answered one by one. Each capability counts by itself; architectures are a choice. */
function conditions(filter: unknown, at: string, facts: ProfileFacts): boolean[] {
  if (filter === undefined || filter === null) return [];
  const fields = readFields(filter, at, ['caps', 'arches', 'minKernel']);
  const answers = readTexts(fields.caps, `${at}/caps`).map((name) => facts.capabilities.includes(name));
  const arches = readTexts(fields.arches, `${at}/arches`);
  if (arches.length > 0) answers.push(arches.includes(architectures[facts.arch]?.[0] ?? facts.arch));
  if (fields.minKernel !== undefined && fields.minKernel !== '')
    answers.push(isAtLeast(facts.kernelRelease, readText(fields.minKernel, `${at}/minKernel`), `${at}/minKernel`));
  return answers;
}

function isAtLeast(release: string, minimum: string, at: string): boolean {
  const wanted = /^(\d+)\.(\d+)$/.exec(minimum);
  if (!wanted) throw unexpected(at, minimum, 'MAJOR.MINOR, such as "4.8"');
  const found = /^(\d+)\.(\d+)/.exec(release);
  if (!found) throw new UsageError(`${at}: the kernel's release "${release}" does not begin with two numbers`);
  const [major, minor] = [Number(found[1]) - Number(wanted[1]), Number(found[2]) - Number(wanted[2])];
  return major > 0 || (major === 0 && minor >= 0);
}

function readArg(arg: unknown, at: string): SeccompArg {
  const fields = readFields(arg, at, ['index', 'value', 'valueTwo', 'op']);
  return {
    index: readNumber(fields.index, `${at}/index`),
    value: readNumber(fields.value, `${at}/value`),
    valueTwo: fields.valueTwo === undefined ? 0 : readNumber(fields.valueTwo, `${at}/valueTwo`),
    op: readChoice(fields.op, `${at}/op`, Object.keys(seccompOperators)),
  };
}

/** podman's profiles say the errno by name, and mostly by number as well. */
function readErrno(fields: Fields, number: string, name: string, at: string): number | undefined {
  const given = fields[number] === undefined ? undefined : readNumber(fields[number], `${at}/${number}`);
  if (fields[name] === undefined || fields[name] === '') return given;
  const named = errnoNumber(readText(fields[name], `${at}/${name}`));
  if (named === undefined) throw unexpected(`${at}/${name}`, fields[name], 'the name of an errno, such as "EPERM"');
  if (given !== undefined && given !== named)
    throw new UsageError(`${at}/${number} is ${given}, but ${at}/${name} is "${fields[name]}"`);
  return named;
}

/** An object with no fields but the allowed ones. A field that is null is one that is not there. */
function readFields(value: unknown, at: string, allowed: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw unexpected(at || '/', value, 'an object');
  const strange = Object.keys(value).find((name) => !allowed.includes(name));
  if (strange !== undefined)
    throw new UsageError(`${at}/${strange} is no field of the format; allowed are ${allowed.join(', ')}`);
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null));
}

function readList(value: unknown, at: string): unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw unexpected(at, value, 'a list');
  return value;
}

function readTexts(value: unknown, at: string): string[] {
  return readList(value, at).map((item, index) => readText(item, `${at}/${index}`));
}

function readText(value: unknown, at: string): string {
  if (typeof value !== 'string') throw unexpected(at, value, 'a string');
  return value;
}

/** Whole and exact: JSON numbers above 2^53 - 1 have lost bits by now. */
function readNumber(value: unknown, at: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw unexpected(at, value, 'a whole number up to 2^53 - 1');
  return value as number;
}

function readChoice(value: unknown, at: string, allowed: readonly string[]): string {
  if (typeof value !== 'string' || !allowed.includes(value))
    throw unexpected(at, value, `one of ${allowed.join(', ')}`);
  return value;
}

function unexpected(at: string, value: unknown, expected: string): UsageError {
  return new UsageError(
    value === undefined ? `${at} is missing` : `${at} is ${JSON.stringify(value)}, not ${expected}`,
  );
}
