/** A volume at a place of the container, as -v, --mount or the image asks for it, and the mount made of it. Pure. */
import type { Mount } from '../core/spec/types.ts';
import { bindMount } from './bind.ts';
import { UsageError } from './usage-error.ts';

export interface VolumeMount {
  /** The volume's name. */
  volume: string;
  /** It is made for this container, and goes with it by --rm and rm -v. */
  anonymous?: true;
  destination: string;
  readonly: boolean;
  /** While it is empty, it gets what the image has there. */
  copy: boolean;
  /** For the volume, where it is made for this. */
  labels?: Record<string, string>;
  /** What of the volume is mounted, relative to it. */
  subpath?: string;
  /** The owners are shown as the container's user namespace has them. */
  idmap?: true;
  /** The options as `inspect` shows them, docker's Mode. */
  mode: string;
}

/** docker's grammar of a name; what else could be a folder of the host's is refused. */
const grammar = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
/** NAME_MAX: it is the name of a folder. */
const LONGEST_NAME = 255;

export const isVolumeName = (text: string): boolean => grammar.test(text) && text.length <= LONGEST_NAME;

/** @throws UsageError; `option` is what the name was given with */
export function checkVolumeName(option: string, text: string): string {
  if (isVolumeName(text)) return text;
  throw new UsageError(
    `${option}: '${text}' is no name of a volume: 2 to ${LONGEST_NAME} letters, digits, '_', '.' and '-', the first a letter or digit`,
  );
}

/** `folder`: where volumes are, each a folder with its files in _data. */
export function bindVolume({ volume, destination, readonly, subpath, idmap }: VolumeMount, folder: string): Mount {
  const source = `${folder}/${volume}/_data${subpath === undefined ? '' : `/${subpath}`}`;
  return bindMount({
    ...{ source, destination, readonly, propagation: 'rprivate', recursive: 'enabled' },
    ...(idmap && { idmap }),
  });
}
