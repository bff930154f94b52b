/**
 * The bundle that both runtimes get: the configuration that was given, with the probe as its program, on an overlay over the root
 * filesystem. Nothing is written where the user's files are. Host side, in the comparison's own mount namespace.
 */
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { nativeFolder, syscall } from '../../core/host/syscall.ts';
import * as k from '../../core/kernel/constants.ts';
import { ContainerError } from '../../core/kernel/error.ts';
import type { Spec } from '../../spec/types.ts';
import { deviceFile, probedDevices, probeFolder, probeTasks } from './tasks.ts';

export interface Source {
  spec: Spec;
  /** Folders, lowest first; all are only read. */
  layers: readonly string[];
  /** What relative paths of config.json count from. */
  bundle: string;
}

/** Beyond 2^53 a number would not come out of JSON.parse as it went in: such go through as marked strings. */
const MARK = 'tinyctr-compare number ';

/** @throws ContainerError with exit status 2 */
export function readBundle(folder: string): Source {
  const bundle = resolve(folder);
  let text: string;
  try {
    text = readFileSync(`${bundle}/config.json`, 'utf8');
  } catch (error) {
    throw cannot(
      `${bundle}/config.json can't be read (${(error as { code?: string }).code})`,
      'tinyctr-oci spec makes one',
    );
  }
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}/g, (token) =>
    token.startsWith('"') ? token : `"${MARK}${token}"`,
  );
  let spec: Spec;
  try {
    spec = JSON.parse(marked) as Spec;
  } catch (error) {
    throw cannot(`${bundle}/config.json is not JSON: ${(error as Error).message}`);
  }
  if (typeof spec?.root?.path !== 'string' || !Array.isArray(spec.process?.args))
    throw cannot(`${bundle}/config.json has no root.path, or no process.args`);
  const rootfs = resolve(bundle, spec.root.path);
  if (!statSync(rootfs, { throwIfNoEntry: false })?.isDirectory())
    throw cannot(`the root ${rootfs} is not a directory`);
  return { spec, layers: [rootfs], bundle };
}

/** The comparison could not be made: exit status 2. */
export function cannot(message: string, hint?: string): ContainerError {
  return new ContainerError(message, { exitCode: 2, ...(hint === undefined ? {} : { hint }) });
}

export interface ProbedBundle {
  /** Has config.json and rootfs. */
  path: string;
  /** What the probe can't try, in words. */
  notes: string[];
}

/** Makes it at `path`, in a folder that vanishes with the mount namespace. Each runtime gets a new one. */
export function makeBundle(path: string, { spec, layers, bundle }: Source): ProbedBundle {
  const [probe, upper, work, rootfs] = ['probe', 'upper', 'work', 'rootfs'].map((name) => `${path}/${name}`) as [
    string,
    string,
    string,
    string,
  ];
  for (const folder of [path, probe, upper, work, rootfs]) mkdirSync(folder, { recursive: true });
  const notes = fillProbe(`${probe}${probeFolder}`, spec);
  const { mode, uid, gid } = statSync(layers.at(-1)!);
  chmodSync(upper, mode & 0o7777);
  chownSync(upper, uid, gid);
  const lower = [probe, ...[...layers].reverse()].map((folder) => folder.replace(/[\\:,]/g, '\\$&')).join(':');
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  if (Buffer.byteLength(options) > 4095) throw cannot('the paths of the layers are longer than mount(2) takes');
  syscall('mount', ['overlay', rootfs, 'overlay', 0, options]);
  writeFileSync(`${path}/config.json`, unmarked(JSON.stringify(probed(spec, rootfs, bundle))));
  return { path, notes };
}

const unmarked = (text: string): string => text.replaceAll(new RegExp(`"${MARK}(-?\\d+)"`, 'g'), '$1');

function fillProbe(folder: string, spec: Spec): string[] {
  mkdirSync(`${folder}/dev`, { recursive: true });
  copyFileSync(`${nativeFolder}/probe`, `${folder}/probe`);
  chmodSync(`${folder}/probe`, 0o755);
  writeFileSync(`${folder}/tasks`, probeTasks(spec));
  let refused = 0;
  for (const [type, major, minor] of probedDevices) {
    const path = `${folder}/${deviceFile(type, major, minor)}`;
    const number = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12);
    const kind = type === 'c' ? k.S_IFCHR : k.S_IFBLK;
    if (syscall('mknodat', [k.AT_FDCWD, path, kind | 0o666, number >>> 0], ['EPERM']) < 0) refused++;
    else chmodSync(path, 0o666);
  }
  return refused === 0 ? [] : ['device rules were not tried: this process may make no device nodes (CAP_MKNOD)'];
}

function probed(spec: Spec, rootfs: string, bundle: string): Spec {
  const mounts = spec.mounts?.map((mount) => {
    const isBind = mount.type === 'bind' || mount.options?.some((option) => option === 'bind' || option === 'rbind');
    return isBind && mount.source && !isAbsolute(mount.source)
      ? { ...mount, source: resolve(bundle, mount.source) }
      : mount;
  });
  return {
    ...spec,
    root: { ...spec.root, path: rootfs },
    process: { ...spec.process!, args: [`${probeFolder}/probe`, ...(spec.process!.args ?? []).slice(1)] },
    ...(mounts ? { mounts } : {}),
  };
}
