/** --volume: `source:destination[:options]`, or a place alone. Pure. */
import type { Mount } from '../core/spec/types.ts';
import { bindMount, checkDestination, isPath, propagations, resolveSource } from './bind.ts';
import type { HostReaders } from './options.ts';
import { UsageError } from './usage-error.ts';
import { checkVolumeName, type VolumeMount } from './volume-mount.ts';

const refused: Record<string, string> = {
  z: 'SELinux labels are not there yet',
  Z: 'SELinux labels are not there yet',
  consistent: 'it means nothing on Linux',
  cached: 'it means nothing on Linux',
  delegated: 'it means nothing on Linux',
};

interface VolumeFlags {
  readonly: boolean;
  propagation: string | undefined;
  copy: boolean;
  /** The owners are shown as the container's user namespace has them. */
  idmap?: true;
}

const kinds: readonly (readonly string[])[] = [['ro', 'rw'], ['copy', 'nocopy'], ['idmap'], propagations];

/** Reads the words after the second colon; of each kind there is at most one. @throws UsageError */
function parseFlags(option: string, text: string): VolumeFlags {
  const words = text.split(',');
  for (const word of words) {
    const reason = Object.hasOwn(refused, word) ? refused[word] : undefined;
    if (reason) throw new UsageError(`${option}: '${word}' is refused: ${reason}`);
    if (!kinds.some((kind) => kind.includes(word)))
      throw new UsageError(`${option}: '${word}' is none of ${kinds.flat().join(', ')}`);
  }
  const [access, copy, idmap, propagation] = kinds.map((kind) => words.filter((word) => kind.includes(word)));
  for (const given of [access!, copy!, idmap!, propagation!])
    if (given.length > 1) throw new UsageError(`${option}: ${given.join(' and ')} exclude each other`);
  return {
    readonly: access![0] === 'ro',
    propagation: propagation![0],
    copy: copy![0] !== 'nocopy',
    ...(idmap!.length > 0 ? { idmap: true as const } : {}),
  };
}

/** Reads one -v. That a path exists is found out when it is mounted: it is never created. @throws UsageError */
export function parseVolume(text: string, host: HostReaders): Mount | VolumeMount {
  const option = `--volume '${text}'`;
  const parts = text.split(':');
  if (parts.some((part) => part === '') || parts.length > 3) {
    throw new UsageError(`${option} is not [source:]destination[:options], with no part empty`);
  }
  const [source, place, words] = parts;
  if (place === undefined) {
    const destination = checkDestination(option, source!);
    return { volume: host.volumeName(), anonymous: true, destination, readonly: false, copy: true, mode: '' };
  }
  const flags: VolumeFlags =
    words === undefined ? { readonly: false, propagation: undefined, copy: true } : parseFlags(option, words);
  const { propagation, copy, ...both } = flags;
  if (isPath(source!)) {
    if (words?.split(',').some((word) => word === 'copy' || word === 'nocopy'))
      throw new UsageError(`${option}: copy and nocopy are for volumes, and '${source}' is a path`);
    return bindMount({
      ...both,
      propagation: propagation ?? 'rprivate',
      source: resolveSource(option, source!, host),
      destination: checkDestination(option, place),
      recursive: 'enabled',
    });
  }
  if (propagation !== undefined)
    throw new UsageError(`${option}: '${propagation}' is for paths of the host, and '${source}' is a volume`);
  const volume = checkVolumeName(option, source!);
  return { volume, destination: checkDestination(option, place), ...both, copy, mode: words ?? 'z' };
}
