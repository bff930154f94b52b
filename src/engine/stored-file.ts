/** containers/<id>/config.json: what a container is made of, so that it can be started, entered and shown later. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import type { CgroupFile } from '../core/plan/plan.ts';
import { DamagedFile, readJson, writeJson } from '../lifecycle/json-file.ts';
import { damagedContainer } from './containers.ts';
import { withFolderLock } from './folder-lock.ts';
import type { RunOptions } from './options.ts';
import { parseWhole } from './sizes.ts';
import type { ContainerSpec } from './spec.ts';
import { UsageError } from './usage-error.ts';

/** What `docker run` asks of the time after the start. */
export interface LifeOptions {
  restart: RestartPolicy;
  /** Seconds between the stop signal and SIGKILL. */
  stopTimeoutS: number;
  log: LogOptions;
}

export interface RestartPolicy {
  name: 'no' | 'on-failure' | 'always' | 'unless-stopped';
  /** Of on-failure; 0 is without end. */
  maxRetries: number;
}

export interface LogOptions {
  driver: 'json-file' | 'none';
  /** Bytes; 0 is any. */
  maxSize: number;
  maxFiles: number;
}

export interface StoredContainer extends LifeOptions {
  wanted: ContainerSpec;
  tty: boolean;
  interactive: boolean;
  etc: Pick<RunOptions, 'addHost' | 'dns'>;
  rm: boolean;
  /** What is written into its cgroup. */
  limits: readonly CgroupFile[];
  /** For inspect; a container of an older version has none. */
  asked?: Asked;
}

/** As it was asked for, in the words of the command line, where the specification does not tell it any more. */
export interface Asked
  extends Required<
    Pick<
      RunOptions,
      | 'volume'
      | 'tmpfs'
      | 'capAdd'
      | 'capDrop'
      | 'privileged'
      | 'securityOpt'
      | 'deviceCgroupRule'
      | 'userns'
      | 'cidfile'
    >
  > {
  /** The image's, or that of --entrypoint; undefined where there is none. Together with `cmd` it is what is executed. */
  entrypoint: readonly string[] | undefined;
  cmd: readonly string[];
}

export const DEFAULT_STOP_TIMEOUT_S = 10;

/** Of a container that somebody attends: what a later `start` goes by. @throws UsageError for what is for the background only */
export function inForeground({ restart, logDriver, logOpt, stopTimeout }: RunOptions): LifeOptions {
  const given = { '--restart': restart, '--log-driver': logDriver, '--log-opt': logOpt };
  const [first] = Object.entries(given).filter(([, value]) => value !== undefined && value !== 'no');
  if (first) throw new UsageError(`${first[0]} is for containers in the background: tinyctr run -d, or create`);
  return {
    restart: { name: 'no', maxRetries: 0 },
    stopTimeoutS: stopTimeout === undefined ? DEFAULT_STOP_TIMEOUT_S : parseStopTimeout(stopTimeout),
    log: { driver: 'json-file', maxSize: 0, maxFiles: 1 },
  };
}

/** @throws UsageError */
export const parseStopTimeout = (text: string): number => parseWhole('--stop-timeout', text, 0, 1_000_000);

const fileOf = (root: string, id: string): string => `${root}/containers/${id}/config.json`;

/** What nothing works without. */
const shape = {
  wanted: { spec: { process: 'object', linux: { cgroupsPath: 'string' } }, hostNamespaces: 'object' },
  tty: 'boolean',
  interactive: 'boolean',
  etc: 'object',
  rm: 'boolean',
  limits: 'array',
  restart: { name: 'string', maxRetries: 'number' },
  stopTimeoutS: 'number',
  log: { driver: 'string', maxSize: 'number', maxFiles: 'number' },
} as const;

export function writeStored(root: string, id: string, stored: StoredContainer): void {
  writeJson(fileOf(root, id), stored);
}

/** With the container's lock: two changes at once are both kept. @throws ContainerError where it is gone */
export function changeStored(root: string, id: string, change: (stored: StoredContainer) => StoredContainer): void {
  const done = withFolderLock(`${root}/containers/${id}`, () => {
    writeStored(root, id, change(readStored(root, id)));
    return true;
  });
  if (!done) throw new ContainerError(`no such container: ${id.slice(0, 12)}`, { exitCode: 1 });
}

/** @throws ContainerError for a damaged one */
export function readStored(root: string, id: string): StoredContainer {
  const { stored, damage } = lookAtStored(root, id);
  if (stored === undefined) throw damagedContainer(id, damage!);
  return stored;
}

/** `damage`: what is wrong with the file. */
export function lookAtStored(root: string, id: string): { stored?: StoredContainer; damage?: string } {
  try {
    return { stored: readJson<StoredContainer>(fileOf(root, id), shape) };
  } catch (error) {
    if (error instanceof DamagedFile) return { damage: error.message };
    if ((error as { code?: string }).code === 'ENOENT') return { damage: 'config.json is missing' };
    throw error;
  }
}

/** Undefined for a damaged one: its container is listed all the same. */
export const storedIfWhole = (root: string, id: string): StoredContainer | undefined => lookAtStored(root, id).stored;
