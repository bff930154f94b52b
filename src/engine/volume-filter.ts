/** `volume ls --filter` and `volume prune --filter`, as docker's. Pure. */
import { cut } from './identity.ts';
import { UsageError } from './usage-error.ts';
import type { Volume } from './volume-store.ts';

export interface UsedVolume extends Volume {
  /** Ids of the containers that have it. */
  users: readonly string[];
}

export type VolumeFilter = (volume: UsedVolume) => boolean;
type Make = (value: string, text: string) => VolumeFilter;

const hasLabel = (value: string): VolumeFilter => {
  const [key, wanted] = cut(value, '=');
  return ({ labels }) =>
    labels !== null && Object.hasOwn(labels, key) && (wanted === undefined || labels[key] === wanted);
};

const truths: Record<string, boolean> = { true: true, '1': true, false: false, '0': false };

const ofList: Record<string, Make> = {
  name: (value, text) => {
    try {
      const pattern = new RegExp(value); // as docker has it: a part of the name, or an expression
      return ({ name }) => pattern.test(name);
    } catch {
      throw new UsageError(`${text}: '${value}' is no regular expression`);
    }
  },
  label: hasLabel,
  driver: (value) => () => value === 'local',
  dangling: (value, text) => {
    if (!Object.hasOwn(truths, value)) throw new UsageError(`${text}: dangling is true or false`);
    return ({ users }) => (users.length === 0) === truths[value];
  },
};

const ofPrune: Record<string, Make> = {
  label: hasLabel,
  'label!': (value) => {
    const has = hasLabel(value);
    return (volume) => !has(volume);
  },
};

/** Of several with one name, one is enough; of several names, each counts. @throws UsageError */
export const listFilter = (texts: readonly string[]): VolumeFilter => {
  const filters = parse(ofList, texts);
  const names = [...new Set(filters.map(({ name }) => name))];
  return (volume) => names.every((name) => filters.some((filter) => filter.name === name && filter.keeps(volume)));
};

/** Each counts. @throws UsageError */
export const pruneFilter = (texts: readonly string[]): VolumeFilter => {
  const filters = parse(ofPrune, texts);
  return (volume) => filters.every(({ keeps }) => keeps(volume));
};

function parse(known: Record<string, Make>, texts: readonly string[]): { name: string; keeps: VolumeFilter }[] {
  return texts.map((text) => {
    const [name, value] = cut(text, '=');
    const make = Object.hasOwn(known, name) ? known[name]! : undefined;
    if (make === undefined || value === undefined)
      throw new UsageError(`--filter '${text}' is not understood: give ${Object.keys(known).join('=…, ')}=…`);
    return { name, keeps: make(value, `--filter '${text}'`) };
  });
}
