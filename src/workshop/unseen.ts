/**
 * A container's files for somebody who may not look at all of them: what explain assumes there, and says that it did.
 * Init would have the command, the working directory and the sources of bind mounts; everything else may be missing. Host side.
 */
import { lstatSync } from 'node:fs';
import type { Plan } from '../core/plan/plan.ts';
import { directory, file, folderTree, type Hidden, overlayTree, type Tree } from './files.ts';

type Watched = Pick<Plan, 'root' | 'process' | 'mounts'>;

const program = file('', 0o755);
const isAbove = (folder: string, path: string): boolean => path.startsWith(folder === '/' ? '/' : `${folder}/`);

export class Unseen {
  /** Paths as this user sees them. */
  private readonly hidden = new Set<string>();
  private readonly sources = new Set<string>();
  private readonly plan: Watched;
  private readonly isThere: boolean;
  private assumed: string | undefined;

  constructor(plan: Watched) {
    this.plan = plan;
    const { source } = plan.root;
    this.isThere = source.kind !== 'directory' || isFolder(source.path);
  }

  readonly onHost: Hidden = (path) => {
    this.sources.add(path);
  };

  image(): Tree {
    const { source } = this.plan.root;
    if (source.kind !== 'directory') return overlayTree(source.lower.map((layer) => `${source.layersFolder}/${layer}`));
    const tree = folderTree(source.path, (path) => this.hidden.add(path));
    return (path) =>
      tree(path) ?? (this.isHidden(source.path, path) ? this.assume(source.path, tree, path) : undefined);
  }

  private isHidden(folder: string, path: string): boolean {
    return !this.isThere || this.hidden.has(`${folder}${path === '/' ? '' : path}`);
  }

  /** The command is assumed in /bin, or else in the first folder of its PATH that can't be looked at. */
  private assume(folder: string, tree: Tree, path: string) {
    this.assumed ??= this.candidates().find((one) => tree(one) === undefined && this.isHidden(folder, one));
    if (path === this.assumed) return program;
    const needed = [this.assumed ?? '/', this.plan.process.cwd];
    return path === '/' || path === this.plan.process.cwd || needed.some((one) => isAbove(path, one))
      ? directory
      : undefined;
  }

  private candidates(): string[] {
    const { args, env, cwd } = this.plan.process;
    const name = args[0]!;
    if (name.startsWith('/')) return [name];
    if (name.includes('/')) return [`${cwd === '/' ? '' : cwd}/${name.replace(/^\.\//, '')}`];
    const path = env.findLast((entry) => entry.startsWith('PATH='))?.slice(5) ?? '';
    const folders = path.split(':').filter((one) => one.startsWith('/'));
    return [...folders.filter((one) => one === '/bin'), ...folders].map((one) => `${one}/${name}`);
  }

  /** Sources of bind mounts that can't be looked at are folders. */
  host(tree: Tree): Tree {
    return (path) =>
      tree(path) ??
      (this.sources.has(path) && this.boundFrom.some((one) => one === path || isAbove(path, one))
        ? directory
        : undefined);
  }

  private get boundFrom(): string[] {
    return this.plan.mounts.flatMap((mount) => (mount.kind === 'bind' ? [mount.source] : []));
  }

  tell(note: (text: string) => void): void {
    const { source } = this.plan.root;
    const guess = this.assumed === undefined ? '' : `; that the command is ${this.assumed} is a guess`;
    if (source.kind === 'directory' && !this.isThere)
      note(
        `the root filesystem ${source.path} is not there, or can’t be looked at: it is taken for an empty one${guess}`,
      );
    else if (this.hidden.size > 0)
      note(`this user may not look at ${few([...this.hidden])}: taken as not there${guess}`);
    const sources = this.boundFrom.filter((one) => this.sources.has(one));
    if (sources.length > 0) note(`this user may not look at ${few(sources)}, which is bound: taken for a folder`);
  }
}

const few = (paths: readonly string[]): string =>
  `${paths.slice(0, 3).join(', ')}${paths.length > 3 ? ` and ${paths.length - 3} more` : ''}`;

function isFolder(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}
