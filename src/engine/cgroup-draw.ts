/** `tinyctr cgroup draw`: cgroups as a tree, each with its limits, use and pressure, file by file. Host side; it only reads. */
import { readdirSync, readFileSync } from 'node:fs';
import { readMountinfo } from '../core/host/mountinfo.ts';
import { type FileRow, type FileValue, fileRows, hugetlbRow, parseFile } from './cgroup-files.ts';

export interface CgroupNode {
  /** Below the hierarchy's root. */
  path: string;
  /** What a user knows it by, such as a container's name; '' where there is nothing. */
  title: string;
  /** Of the cgroup itself, not of those below. */
  processes: { pid: number; name: string }[];
  files: Record<string, FileValue>;
  children: CgroupNode[];
}

export interface Controllers {
  present: string[];
  /** Where the others are bound; undefined: nowhere, the kernel has them not, or they were not handed on. */
  missing: Record<string, string | undefined>;
}

/** Reads the cgroup at `path` and all below. Undefined if it is not there, or goes away meanwhile. */
export function readTree(root: string, path: string, titles: ReadonlyMap<string, string>): CgroupNode | undefined {
  const folder = path === '/' ? root : `${root}${path}`;
  let entries: ReturnType<typeof list>;
  try {
    entries = list(folder);
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
  const known = entries.filter((entry) => entry.isFile() && rowsOf(entry.name).length > 0);
  const files = known.map(({ name }) => [name, read(`${folder}/${name}`)] as const);
  const below = entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
  return {
    path,
    title: titles.get(path) ?? '',
    processes: (read(`${folder}/cgroup.procs`) ?? '').split('\n').filter(Boolean).map(processOf),
    files: Object.fromEntries(files.flatMap(([name, text]) => (text === undefined ? [] : [[name, parseFile(text)]]))),
    children: below
      .map((name) => readTree(root, `${path === '/' ? '' : path}/${name}`, titles))
      .filter((node) => node !== undefined),
  };
}

const list = (folder: string) => readdirSync(folder, { withFileTypes: true });

/** Undefined where the kernel gives nothing: EOPNOTSUPP of the pressure files without PSI, ENODEV of a cgroup that goes. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function processOf(pid: string): { pid: number; name: string } {
  return { pid: Number(pid), name: (read(`/proc/${pid}/comm`) ?? '').trim() };
}

function rowsOf(file: string): readonly FileRow[] {
  const huge = hugetlbRow(file);
  return huge ? [huge] : fileRows.filter((row) => row.file === file);
}

/** cgroup v2's controllers with a limit, and v1's names where they differ. */
const wanted = { cpu: 'cpu', memory: 'memory', pids: 'pids', io: 'blkio', cpuset: 'cpuset', hugetlb: 'hugetlb' };

/** What the hierarchy has, and where the rest is. */
export function readControllers(root: string): Controllers {
  const present = readFileSync(`${root}/cgroup.controllers`, 'utf8').trim().split(' ').filter(Boolean);
  const v1 = readMountinfo('self').filter(({ fstype }) => fstype === 'cgroup');
  const absent = Object.entries(wanted).filter(([name]) => !present.includes(name));
  const place = (name: string) => v1.find(({ superOptions }) => superOptions.includes(name))?.mountPoint;
  return { present, missing: Object.fromEntries(absent.map(([name, old]) => [name, place(old)])) };
}

/** Lines of at most 80 columns as long as names are no longer than a container's short id. `everything`: what is not set as well. */
export function drawTree(node: CgroupNode, everything: boolean): string[] {
  return draw(node, everything, '', '', node.path);
}

function draw(node: CgroupNode, everything: boolean, first: string, rest: string, name: string): string[] {
  const shown = node.processes.slice(0, 3).map(({ pid, name: command }) => `${command} ${pid}`);
  if (node.processes.length > 3) shown.push(`${node.processes.length - 3} more`);
  const head = [shortName(name), node.title, shown.join(', ')].filter(Boolean).join('  ');
  const bar = node.children.length > 0 ? '│ ' : '  ';
  const lines = [`${first}${head}`, ...fileLines(node, everything).map((line) => `${rest}${bar}${line}`)];
  for (const [index, child] of node.children.entries()) {
    const last = index === node.children.length - 1;
    const childName = child.path.slice(child.path.lastIndexOf('/') + 1);
    lines.push(
      `${rest}│`,
      ...draw(child, everything, `${rest}${last ? '└─ ' : '├─ '}`, `${rest}${last ? '   ' : '│  '}`, childName),
    );
  }
  return lines;
}

/** Of a container's id the beginning, as `ps` has it. */
const shortName = (name: string): string => name.replace(/[0-9a-f]{64}/, (id) => id.slice(0, 12));

function fileLines({ files }: CgroupNode, everything: boolean): string[] {
  const huge = Object.keys(files).flatMap((file) => hugetlbRow(file) ?? []);
  return [...fileRows, ...huge].flatMap((row) => {
    const value = files[row.file];
    if (value === undefined || (!everything && row.dull(value))) return [];
    const words = row.words(value, files);
    return words === undefined ? [] : [`${row.file.padEnd(20)}${words.padEnd(20)}${row.meaning}`];
  });
}

/** Which limits can't be kept here, and why. */
export function controllerLines({ missing }: Controllers): string[] {
  const names = Object.keys(missing);
  if (names.length === 0) return [];
  return [
    `Not in this hierarchy: ${names.join(', ')}`,
    ...names.map(
      (name) =>
        `  ${name.padEnd(9)}${missing[name] ? `bound to cgroup v1 at ${missing[name]}` : 'not in this kernel, or not handed on to here'}`,
    ),
    ...(Object.values(missing).some(Boolean) ? ['  To have them here: boot with cgroup_no_v1=all.'] : []),
  ];
}
