/** A container as `ps` lists it, with the keys of `docker ps --format json`. Host side. */
import { goTime, humanAge, humanSize } from '../image/present.ts';
import { findImage } from '../image/records.ts';
import { type Facts, statusText } from './container-facts.ts';
import { type MountPoint, mountPoints, networkOf, sizes } from './inspect.ts';
import type { Places } from './ps-filter.ts';
import { storedIfWhole } from './stored-file.ts';

const LONGEST_COMMAND = 20;
const LONGEST_MOUNT = 15;

export interface PsRow {
  ID: string;
  Image: string;
  Command: string;
  CreatedAt: string;
  RunningFor: string;
  Ports: string;
  State: string;
  Status: string;
  Names: string;
  Labels: string;
  /** Only where it was asked for: all that a container wrote has to be looked at. */
  Size?: string;
}

/** What the table shows. No file but the record is read, unless `size` is asked for. */
export function psRow(facts: Facts, { root }: Places, shown: { trunc: boolean; size: boolean; now: number }): PsRow {
  const { trunc, size, now } = shown;
  const { id, image, imageName, command, created, name = '', labels } = facts.record;
  return {
    ID: trunc ? id.slice(0, 12) : id,
    Image: imageName,
    Command: quoted(cutTo(LONGEST_COMMAND, command.join(' '), trunc)),
    CreatedAt: goTime(created),
    RunningFor: humanAge(created, now),
    Ports: '',
    State: facts.status,
    Status: statusText(facts, now),
    Names: name,
    Labels: Object.entries(labels)
      .map((pair) => pair.join('='))
      .join(','),
    ...(size && { Size: sizeText(root, id, image) }),
  };
}

/** What only the JSON has. A container whose files are damaged has nothing of it. */
export function psDetails({ record: { id } }: Facts, { root, runRoot }: Places, trunc: boolean) {
  const stored = storedIfWhole(root, id);
  if (stored === undefined) return {};
  const mounts = mountPoints(stored, `${runRoot}/${id}`);
  return {
    Mounts: mounts.map((mount) => cutTo(LONGEST_MOUNT, placeOf(mount), trunc)).join(','),
    LocalVolumes: String(mounts.filter(({ Type }) => Type === 'volume').length),
    Networks: networkOf(stored),
  };
}

const placeOf = ({ Name, Source }: MountPoint): string => Name ?? Source;

function sizeText(root: string, id: string, image: string): string {
  const { SizeRw, SizeRootFs } = sizes(root, id, findImage(root, image));
  return `${humanSize(SizeRw)} (virtual ${humanSize(SizeRootFs)})`;
}

const cutTo = (length: number, text: string, trunc: boolean): string =>
  trunc && text.length > length ? `${text.slice(0, length - 1)}…` : text;

/** In quotes, on one line, and without what a terminal would obey: an image may have any command. */
function quoted(text: string): string {
  const asCode = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, asCode);
}
