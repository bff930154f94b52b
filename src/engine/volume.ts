/** --volume: `source:destination[:options]`. Pure. */
import type { Mount } from '../core/spec/types.ts';
import { bindMount, checkDestination, propagations, resolveSource } from './bind.ts';
import type { HostReaders } from './options.ts';
import { UsageError } from './usage-error.ts';

const refused: Record<string, string> = {
  z: 'SELinux labels are not there yet',
  Z: 'SELinux labels are not there yet',
  copy: 'it is for named volumes, which are not there yet',
  nocopy: 'it is for named volumes, which are not there yet',
  consistent: 'it means nothing on Linux',
  cached: 'it means nothing on Linux',
  delegated: 'it means nothing on Linux',
};

interface VolumeFlags {
  readonly: boolean;
  propagation: string;
  /** The owners are shown as the container's user namespace has them. */
  idmap?: true;
}

/** Reads the words after the second colon; of each kind there is at most one. @throws UsageError */
function parseFlags(option: string, text: string): VolumeFlags {
  const words = text.split(',');
  for (const word of words) {
    const reason = Object.hasOwn(refused, word) ? refused[word] : undefined;
    if (reason) throw new UsageError(`${option}: '${word}' is refused: ${reason}`);
    if (word !== 'ro' && word !== 'rw' && word !== 'idmap' && !propagations.includes(word)) {
      throw new UsageError(`${option}: '${word}' is none of ro, rw, idmap, ${propagations.join(', ')}`);
    }
  }
  const access = words.filter((word) => word === 'ro' || word === 'rw');
  const propagation = words.filter((word) => propagations.includes(word));
  for (const kind of [access, propagation]) {
    if (kind.length > 1) throw new UsageError(`${option}: ${kind.join(' and ')} exclude each other`);
  }
  const idmap = words.includes('idmap') ? { idmap: true as const } : {};
  return { readonly: access[0] === 'ro', propagation: propagation[0] ?? 'rprivate', ...idmap };
}

/** Reads one -v. That the source exists is found out when it is mounted: it is never created. @throws UsageError */
export function parseVolume(text: string, host: HostReaders): Mount {
  const option = `--volume '${text}'`;
  const parts = text.split(':');
  if (parts.some((part) => part === '') || parts.length > 3) {
    throw new UsageError(`${option} is not source:destination[:options], with no part empty`);
  }
  const [source, destination, flags] = parts;
  if (destination === undefined) {
    throw new UsageError(`${option}: anonymous volumes are not there yet: give source:destination`);
  }
  return bindMount({
    ...(flags === undefined ? { readonly: false, propagation: 'rprivate' } : parseFlags(option, flags)),
    source: resolveSource(option, source!, host),
    destination: checkDestination(option, destination),
    recursive: 'enabled',
  });
}
