/** What `tinyctr limit` calls its cgroups and their state folders: no container has such a name. */
import { randomHex } from '../core/host/random.ts';

export const newLimit = (): string => `limit-${randomHex(6)}`;

export const isLimit = (name: string): boolean => name.startsWith('limit-');
