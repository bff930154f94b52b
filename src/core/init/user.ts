/** Who the container's process is: passwd and group of the container, read as data, never by code from there (SEC-14, SEC-15). */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { UserPlan } from '../plan/plan.ts';
import type { Stage, StageFd } from '../stage/stage.ts';
import { resolveInRoot } from './resolve.ts';

export interface ContainerUser {
  uid: number;
  gid: number;
  additionalGids: readonly number[];
  home: string;
}

const MAX_FILE = 1 << 20;
const MAX_ID = 2 ** 32 - 2;

export function lookUpUser(stage: Stage, root: StageFd, user: UserPlan): ContainerUser {
  stage.step({
    id: 'user',
    why: 'names and home directories are the container’s: its passwd and group files are read as text',
    see: ['passwd(5)', 'group(5)', 'CVE-2026-30892'],
  });
  const [passwd, group] = readFiles(stage, root, ['etc/passwd', 'etc/group']);
  if (user.kind === 'ids') return { ...user, home: homeOf(entries(passwd!, 7), user.uid) };
  return resolveUser(user.user, user.groupAdd, entries(passwd!, 7), entries(group!, 4));
}

/** Lines of colon-separated fields. */
function entries(text: string, fields: number): string[][] {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter((entry) => entry.length >= fields);
}

/** Their texts; a missing one is empty. Refuses what is no regular file: without O_NONBLOCK a FIFO would block for ever. */
function readFiles(stage: Stage, root: StageFd, paths: readonly string[]): string[] {
  const fds = paths.map((path) => resolveInRoot(stage, root, path, k.O_RDONLY | k.O_NONBLOCK | k.O_NOCTTY));
  const statuses = stage.statx_all(fds);
  for (const [i, status] of statuses.entries())
    if (status && ((status.mode & k.S_IFMT) !== k.S_IFREG || status.size > MAX_FILE))
      throw new ContainerError(`/${paths[i]} in the container is not a regular file of at most 1 MiB: refused`);
  return fds.map((fd, i) => (statuses[i] ? readText(stage, fd, statuses[i].size) : ''));
}

function readText(stage: Stage, fd: StageFd, size: number): string {
  const chunks: Buffer[] = [];
  for (let left = size; left > 0; ) {
    const chunk = stage.read(fd, Math.min(left, 32768));
    if (chunk.length === 0) break;
    left -= chunk.length;
    chunks.push(chunk);
  }
  stage.close(fd);
  return (chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString('utf8');
}

/** A decimal id, or undefined: "0x0", "+0", " 0", "1e3" and numbers beyond 2^32 - 2 are none. */
export function parseId(text: string): number | undefined {
  return /^(0|[1-9][0-9]{0,9})$/.test(text) && Number(text) <= MAX_ID ? Number(text) : undefined;
}

const homeOf = (passwd: readonly string[][], uid: number): string =>
  passwd.find((e) => parseId(e[2]!) === uid)?.[5] || '/';

/**
 * docker's rules: `user[:group]`, each a name or a number; a name that is all digits is a name first. Without a group: the
 * user's own and all that list the user. The result is exact or an error, never root by default.
 */
export function resolveUser(
  text: string,
  groupAdd: readonly string[],
  passwd: readonly string[][],
  group: readonly string[][],
): ContainerUser {
  const [userText = '', groupText, ...rest] = text === '' ? ['0'] : text.split(':');
  if (rest.length > 0 || userText === '' || groupText === '')
    throw new ContainerError(`user ${JSON.stringify(text)} is not of the form user[:group]`);
  const entry =
    passwd.find((e) => e[0] === userText) ??
    passwd.find((e) => parseId(e[2]!) !== undefined && parseId(e[2]!) === parseId(userText));
  const uid = parseId(entry ? entry[2]! : userText);
  if (uid === undefined)
    throw new ContainerError(`there is no user ${JSON.stringify(userText)} in the container's /etc/passwd`);
  const findGroup = (name: string): number => {
    const found = group.find((e) => e[0] === name);
    const gid = parseId(found ? found[2]! : name);
    if (gid === undefined)
      throw new ContainerError(`there is no group ${JSON.stringify(name)} in the container's /etc/group`);
    return gid;
  };
  const gid = groupText === undefined ? (entry ? parseId(entry[3]!) : 0) : findGroup(groupText);
  if (gid === undefined)
    throw new ContainerError(`the group of ${JSON.stringify(userText)} in the container's /etc/passwd is no number`);
  const listed = groupText === undefined && entry?.[0] ? group.filter((e) => e[3]!.split(',').includes(entry[0]!)) : [];
  const gids = [...listed.map((e) => parseId(e[2]!)), ...groupAdd.map(findGroup)].filter((g) => g !== undefined);
  return { uid, gid, additionalGids: [...new Set([gid, ...gids])], home: entry?.[5] || '/' };
}
