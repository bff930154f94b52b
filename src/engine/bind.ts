/** What -v and --mount have in common: where a mount may go, where it comes from, and the bind made of it. Pure. */
import { posix } from 'node:path';
import type { Mount } from '../core/spec/types.ts';
import type { HostReaders } from './options.ts';
import { UsageError } from './usage-error.ts';

/** The propagation types of mount_namespaces(7) that docker offers; `r…` counts for the mounts below as well. */
export const propagations: readonly string[] = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];

export interface Bind {
  source: string;
  destination: string;
  readonly: boolean;
  propagation: string;
  /** Whether mounts below the source come along, and whether a read-only bind makes those read-only too. */
  recursive: 'enabled' | 'disabled' | 'writable' | 'readonly';
  /** The owners are shown as the container's user namespace has them. */
  idmap?: true;
}

/** The OCI mount. Read-only is recursive (`rro`) as in docker since 25: `ro` alone leaves mounts below writable. */
export function bindMount(bind: Bind): Mount {
  const readonly = bind.recursive === 'enabled' || bind.recursive === 'readonly' ? 'rro' : 'ro';
  return {
    destination: bind.destination,
    type: 'bind',
    source: bind.source,
    options: [
      bind.recursive === 'disabled' ? 'bind' : 'rbind',
      ...(bind.readonly ? [readonly] : []),
      bind.propagation,
      ...(bind.idmap ? ['idmap'] : []),
    ],
  };
}

/** The place in the container, absolute, without `.` and `..`. @throws UsageError when it is relative, or the root */
export function checkDestination(option: string, text: string): string {
  if (!text.startsWith('/')) {
    throw new UsageError(`${option}: the place in the container '${text}' is not an absolute path`);
  }
  const path = posix.resolve(text);
  if (path === '/') throw new UsageError(`${option}: the container's root '/' can't be mounted over`);
  return path;
}

/** What is no path is the name of a volume: docker's rule, and what looks like a mistake in a path is one. */
export function isPath(text: string): boolean {
  return text.includes('/') || text.startsWith('~') || /^\.{1,2}$/.test(text);
}

/** The host path to bind, absolute. @throws UsageError */
export function resolveSource(option: string, text: string, host: HostReaders): string {
  if (text.startsWith('/') || /^\.{1,2}(?:\/|$)/.test(text)) return host.resolve(text);
  if (text.startsWith('~')) {
    throw new UsageError(`${option}: '${text}' begins with a '~' that no shell has replaced: give the absolute path`);
  }
  const is = text.includes('/') ? 'neither a path nor the name of a volume' : 'no path';
  throw new UsageError(`${option}: '${text}' is ${is}: write ./${text} or an absolute path`);
}
