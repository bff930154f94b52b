/** `ps --filter`, as docker's. Pure. */
import type { Facts } from './container-facts.ts';
import { cut } from './identity.ts';
import { UsageError } from './usage-error.ts';

export interface Filter {
  name: string;
  value: string;
}

const tests: Record<string, (value: string, facts: Facts) => boolean> = {
  id: (value, { record }) => record.id.startsWith(value),
  name: (value, { record }) => (record.name ?? '').includes(value),
  status: (value, { status }) => status === value,
  exited: (value, { record }) => record.ended?.exitCode === Number(value),
  ancestor: (value, { record }) => record.imageName === value || record.image.startsWith(value),
  label: (value, { record }) => {
    const [key, wanted] = cut(value, '=');
    return Object.hasOwn(record.labels, key) && (wanted === undefined || record.labels[key] === wanted);
  },
};
const statuses = ['created', 'running', 'paused', 'restarting', 'exited'];

/** @throws UsageError */
export function parseFilters(texts: readonly string[]): Filter[] {
  return texts.map((text) => {
    const [name, value] = cut(text, '=');
    if (!Object.hasOwn(tests, name) || value === undefined)
      throw new UsageError(`--filter '${text}' is not understood: give ${Object.keys(tests).join('=…, ')}=…`);
    if (name === 'status' && !statuses.includes(value))
      throw new UsageError(`--filter '${text}': a status is one of ${statuses.join(', ')}`);
    return { name, value };
  });
}

/** Of several with one name, one is enough; of several names, each counts. */
export function keeps(filters: readonly Filter[], facts: Facts): boolean {
  const names = new Set(filters.map(({ name }) => name));
  return [...names].every((name) =>
    filters.some((filter) => filter.name === name && tests[name]!(filter.value, facts)),
  );
}
