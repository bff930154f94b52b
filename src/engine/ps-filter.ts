/** `ps --filter`, as docker's. Host side. */
import { findImage, type Image, listImages } from '../image/records.ts';
import type { Facts } from './container-facts.ts';
import { type ContainerRecord, findContainer } from './containers.ts';
import { cut } from './identity.ts';
import { mountPoints, networkOf } from './inspect.ts';
import { parseWhole } from './sizes.ts';
import { storedIfWhole } from './stored-file.ts';
import { UsageError } from './usage-error.ts';

export interface Filter {
  name: FilterName;
  value: string;
}

/** Where containers and images are, for filters that look further than at the container itself. */
export interface Places {
  root: string;
  runRoot: string;
}

type Test = (facts: Facts) => boolean;

/** Of a value the test of a container. Throws ContainerError where the value names a container that is not there. */
const filters = {
  id: (value) => (facts) => facts.record.id.startsWith(value),
  name: (value) => {
    const pattern = asPattern(value);
    return ({ record: { name = '' } }) => pattern.test(name) || pattern.test(`/${name}`);
  },
  label: (value) => {
    const [key, wanted] = cut(value, '=');
    return ({ record: { labels } }) => Object.hasOwn(labels, key) && (wanted === undefined || labels[key] === wanted);
  },
  status: (value) => (facts) => facts.status === value,
  exited: (value) => (facts) => facts.record.ended?.exitCode === Number(value),
  ancestor: (value, { root }) => {
    const images = new Set(descendants(root, value));
    return ({ record }) => images.has(record.image) || record.imageName === value;
  },
  before: (value, { root }) => {
    const other = findContainer(root, value);
    return ({ record }) => record.id !== other.id && record.created < other.created;
  },
  since: (value, { root }) => {
    const other = findContainer(root, value);
    return ({ record }) => record.id !== other.id && record.created > other.created;
  },
  volume: (value, places) => (facts) =>
    mountsOf(places, facts.record).some(({ Source, Destination }) => Source === value || Destination === value),
  network:
    (value, { root }) =>
    ({ record }) => {
      const stored = storedIfWhole(root, record.id);
      return stored !== undefined && networkOf(stored) === value;
    },
} satisfies Record<string, (value: string, places: Places) => Test>;

type FilterName = keyof typeof filters;

const statuses = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead', 'damaged'];

/** docker takes a regular expression; what is none is looked for as it stands. */
function asPattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    return new RegExp(text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  }
}

/** Ids of the image and of all that are made on top of it: their layers begin with its own. */
function descendants(root: string, name: string): string[] {
  const image = findImage(root, name);
  if (image === undefined) return [];
  const own = diffIds(image);
  return listImages(root)
    .filter((other) => own.every((diffId, i) => diffIds(other)[i] === diffId))
    .map(({ id }) => id);
}

const diffIds = ({ content }: Image): string[] => content.map(({ diffId }) => diffId);

function mountsOf({ root, runRoot }: Places, { id }: ContainerRecord) {
  const stored = storedIfWhole(root, id);
  return stored ? mountPoints(stored, `${runRoot}/${id}`) : [];
}

/** @throws UsageError */
export function parseFilters(texts: readonly string[]): Filter[] {
  return texts.map((text) => {
    const [name, value] = cut(text, '=');
    if (!Object.hasOwn(filters, name) || value === undefined)
      throw new UsageError(`--filter '${text}' is not understood: give ${Object.keys(filters).join('=…, ')}=…`);
    if (name === 'status' && !statuses.includes(value))
      throw new UsageError(`--filter '${text}': a status is one of ${statuses.join(', ')}`);
    if (name === 'exited') parseWhole(`--filter exited`, value, 0, 255);
    return { name: name as FilterName, value };
  });
}

/** Of several with one name, one is enough (but each label counts, as with docker); of several names, each counts. */
export function keepers(given: readonly Filter[], places: Places): Test {
  const kinds = new Map<string, Test[]>();
  for (const { name, value } of given) {
    const kind = name === 'label' ? `label ${value}` : name;
    kinds.set(kind, [...(kinds.get(kind) ?? []), filters[name](value, places)]);
  }
  return (facts) => [...kinds.values()].every((tests) => tests.some((test) => test(facts)));
}
