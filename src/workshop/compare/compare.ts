/** One configuration under tinyctr-oci and under another runtime, and what the kernel says of both. Host side, in namespaces of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cgroupRoot, killCgroup, removeCgroup } from '../../core/host/cgroup.ts';
import { nativeFolder } from '../../core/host/syscall.ts';
import { cannot, makeBundle, type Source } from './bundle.ts';
import { type Comparison, compareFacts, type Difference } from './facts.ts';
import { explain, parseKnown } from './known.ts';
import { enterView } from './namespaces.ts';
import { noteJoined } from './outside.ts';
import { findRuntime, type Observed, type OciRuntime, observe } from './runtime.ts';
import { type Act, actsOf, align, parseStrace, type Row } from './syscalls.ts';

export interface CompareRequest {
  /** A folder that is there; a tmpfs covers it. */
  scratch: string;
  /** runc, crun or a path. */
  other: string;
  /** Makes the configuration, in the namespaces of the comparison; may write below the folder it is given. */
  source(scratch: string): Source;
  signal: AbortSignal;
  /** Also by which system calls each makes it; takes strace. */
  syscalls: boolean;
}

export interface Report {
  runtimes: [ours: OciRuntime, theirs: OciRuntime];
  differences: Difference[];
  equal: Comparison['equal'];
  /** What could not be found out, or had to be arranged. */
  notes: string[];
  times: [ours: Observed['times'], theirs: Observed['times']];
  /** How each makes it, when that was asked for. */
  syscalls?: Row[];
}

/** The checkout: beside native-shim are bin and docs. */
const home = dirname(dirname(nativeFolder));

/** @throws ContainerError with exit status 2 where it can't be done */
export async function compare({ scratch, other, source, signal, syscalls }: CompareRequest): Promise<Report> {
  const notes = enterView(scratch);
  const runtimes: Report['runtimes'] = [
    findRuntime('tinyctr-oci', join(home, 'bin/tinyctr-oci')),
    findRuntime(other.split('/').at(-1)!, other),
  ];
  const given = source(scratch);
  const cgroups = cgroupsOf(given);
  checkCgroups(cgroups);
  const paths = given.spec.linux?.namespaces?.flatMap(({ path }) => path ?? []) ?? [];
  noteJoined(paths, linkOf);
  let ours: Observed;
  let theirs: Observed;
  let rows: Row[] | undefined;
  try {
    ours = await observeWith(runtimes[0], given, `${scratch}/1`, signal);
    theirs = await observeWith(runtimes[1], given, `${scratch}/2`, signal);
    if (syscalls) rows = await alignedCalls(runtimes, given, scratch, signal);
  } finally {
    for (const folder of cgroups) await removeKilled(folder);
  }
  const { differences, equal } = compareFacts(ours.facts, theirs.facts);
  const known = parseKnown(readFileSync(join(home, 'docs/differences.md'), 'utf8'));
  return {
    runtimes,
    differences: explain(differences, known, runtimes[1].kind),
    equal,
    notes: [...new Set([...notes, ...ours.notes, ...theirs.notes])],
    times: [ours.times, theirs.times],
    ...(rows ? { syscalls: rows } : {}),
  };
}

/** In containers of their own: what is traced is slow, and has a tracer for the kernel to tell of. */
async function alignedCalls(
  runtimes: Report['runtimes'],
  given: Source,
  scratch: string,
  signal: AbortSignal,
): Promise<Row[]> {
  if (spawnSync('strace', ['-V']).status !== 0) throw cannot('--syscalls needs strace', 'apt-get install strace');
  const acts: Act[][] = [];
  for (const runtime of runtimes) {
    const path = `${scratch}/${acts.length + 3}`;
    const { trace, path: made } = await observeWith(runtime, given, path, signal, true);
    acts.push(actsOf(parseStrace(trace), `${made}/rootfs`));
  }
  return align(acts[0]!, acts[1]!);
}

/** `path`: of the bundle that is made. Where the runtime refuses the configuration's version, a second one is. */
async function observeWith(
  runtime: OciRuntime,
  source: Source,
  path: string,
  signal: AbortSignal,
  trace = false,
): Promise<Observed & { path: string }> {
  signal.throwIfAborted();
  const { spec } = source;
  const hidden = [...(spec.linux?.maskedPaths ?? []), ...(spec.linux?.readonlyPaths ?? [])];
  const bundle = makeBundle(path, source);
  try {
    const observed = await observe(runtime, path, spec.process!.terminal === true, { signal, hidden, trace });
    return { ...observed, path, notes: [...bundle.notes, ...observed.notes] };
  } catch (error) {
    // crun before 1.9 knows no OCI version but 1.0.
    if (spec.ociVersion === OLD_VERSION || !/unknown version specified/.test((error as Error).message)) throw error;
    const older = { ...source, spec: { ...spec, ociVersion: OLD_VERSION } };
    const observed = await observeWith(runtime, older, `${path}b`, signal, trace);
    const note = `${runtime.name} refuses ociVersion ${spec.ociVersion}: it was given the same as ${OLD_VERSION}`;
    return { ...observed, notes: [note, ...observed.notes] };
  }
}

const OLD_VERSION = '1.0.2';

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return path;
  }
}

/** Where config.json puts the cgroup: an absolute path counts from the root, a relative one depends on the runtime. */
function cgroupsOf({ spec: { linux } }: Source): string[] {
  const path = linux?.cgroupsPath;
  if (!path) return [];
  return (path.startsWith('/') ? [path] : [`/${path}`, `/tinyctr-oci/${path}`]).map((one) => cgroupRoot() + one);
}

/** Both containers would be in it, and its end would be that of whoever is there already. */
function checkCgroups(folders: readonly string[]): void {
  for (const folder of folders)
    if (existsSync(folder))
      throw cannot(
        `the cgroup ${folder} of config.json exists already`,
        'a container may be using it; rmdir removes one that is left over',
      );
}

/** A runtime that failed may leave it. It was not there before. */
async function removeKilled(folder: string): Promise<void> {
  killCgroup(folder);
  removeCgroup(folder);
}

const LEFT = /^\d[a-z]?-tinyctr-compare-(\d+)$/;

/** Cgroups of comparisons that were killed: their processes went with their namespaces. Called by the outer half, which sees all processes. */
export function removeLeftCgroups(): void {
  const root = cgroupRoot();
  const own = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  for (const folder of new Set([root, `${root}/tinyctr-oci`, `${root}/tinyctr`, join(root, own)])) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) {
      const pid = LEFT.exec(name)?.[1];
      if (pid && (pid === String(process.pid) || !existsSync(`/proc/${pid}`))) removeTree(`${folder}/${name}`);
    }
  }
}

/** Of the cgroup file system alone. A process that is just dying keeps its cgroup: the next comparison takes it. */
function removeTree(folder: string): void {
  try {
    for (const name of readdirSync(folder))
      if (statSync(`${folder}/${name}`).isDirectory()) removeTree(`${folder}/${name}`);
    rmdirSync(folder);
  } catch (error) {
    if (!['EBUSY', 'ENOENT'].includes((error as { code?: string }).code ?? '')) throw error;
  }
}

/** The folder that the tmpfs covers; those of comparisons that were killed go. They are empty: nothing is followed or removed that others may have put there. */
export function makeScratch(parent: string): string {
  for (const name of readdirSync(parent)) {
    const pid = /^tinyctr-compare-(\d+)$/.exec(name)?.[1];
    if (pid && !existsSync(`/proc/${pid}`)) removeEmpty(`${parent}/${name}`);
  }
  const folder = `${parent}/tinyctr-compare-${process.pid}`;
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // somebody else's: a link, a file, a folder with something in it
  }
}
