/** tinyctr cgroup draw [ID]: limits, use and pressure as a tree, and what each file means. */
import type { Command } from 'commander';
import { cgroupRoot } from '../../core/host/cgroup.ts';
import { ContainerError } from '../../core/kernel/error.ts';
import { controllerLines, drawTree, readControllers, readTree } from '../../engine/cgroup-draw.ts';
import { findContainer, listContainers } from '../../engine/containers.ts';
import { isLimit } from '../../engine/limit-name.ts';
import { readStates } from '../../lifecycle/state.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';

interface DrawOptions {
  path?: string;
  format: 'text' | 'json';
}

export function define(program: Command, globals: () => Globals): void {
  const command = program.command('cgroup').description('What cgroups are, looked at.');
  command
    .command('draw')
    .description('Draw cgroups with limit, use and pressure: all of tinyctr’s, or one with every file.')
    .argument('[id]', 'a container, or what tinyctr limit runs: name, id or its beginning')
    .option('--path <path>', 'any cgroup, by its path below the hierarchy’s root')
    .addOption(formatOption('tinyctr cgroup draw', 'object', 'text'))
    .action((id: string | undefined, options: DrawOptions) => {
      if (id !== undefined && options.path !== undefined)
        throw new ContainerError('draw takes a container or --path, not both');
      draw(globals(), id, options);
    });
}

function draw({ root, runRoot }: Globals, id: string | undefined, { path, format }: DrawOptions): void {
  const hierarchy = cgroupRoot();
  const running = readStates(runRoot);
  const names = new Map(listContainers(root).map((record) => [record.id, record.name ?? record.imageName]));
  const titles = new Map(running.map((state) => [state.cgroup, names.get(state.id) ?? '']));
  const chosen =
    path !== undefined
      ? [belowRoot(hierarchy, path)]
      : id !== undefined
        ? [cgroupOf(root, running, id)]
        : ownCgroups(running);
  const trees = chosen.map((one) => readTree(hierarchy, one, titles)).filter((tree) => tree !== undefined);
  if (trees.length === 0 && (id ?? path) !== undefined)
    throw new ContainerError(`there is no cgroup ${chosen[0]} in ${hierarchy}`);
  const controllers = readControllers(hierarchy);
  if (format === 'json') {
    process.stdout.write(`${JSON.stringify({ hierarchy, controllers, cgroups: trees }, null, 2)}\n`);
    return;
  }
  const everything = (id ?? path) !== undefined;
  const blocks = trees.map((tree) => drawTree(tree, everything));
  if (blocks.length === 0) blocks.push(['No container and no tinyctr limit runs: there is nothing to draw.']);
  const lines = [...blocks, controllerLines(controllers)]
    .filter((block) => block.length > 0)
    .map((block) => block.join('\n'));
  process.stdout.write(`${hierarchy}\n\n${lines.join('\n\n')}\n`);
}

/** /tinyctr, and what runs elsewhere because of --cgroup-parent. */
function ownCgroups(running: readonly { cgroup: string }[]): string[] {
  const own = ['/tinyctr', '/tinyctr-oci'];
  const elsewhere = running
    .map(({ cgroup }) => cgroup)
    .filter((path) => !own.some((parent) => path.startsWith(`${parent}/`)));
  return [...own, ...elsewhere];
}

function cgroupOf(root: string, running: readonly { id: string; cgroup: string }[], reference: string): string {
  const limit = running.find((state) => isLimit(state.id) && state.id.startsWith(reference) && reference.length > 6);
  if (limit) return limit.cgroup;
  const { id } = findContainer(root, reference);
  const state = running.find((one) => one.id === id);
  if (!state) throw new ContainerError(`container ${id.slice(0, 12)} does not run: its cgroup ended with it`);
  return state.cgroup;
}

/** Also as a path of the file system. */
function belowRoot(hierarchy: string, path: string): string {
  const below = path === hierarchy || path.startsWith(`${hierarchy}/`) ? path.slice(hierarchy.length) : path;
  const parts = below.split('/').filter(Boolean);
  if (parts.includes('..')) throw new ContainerError(`--path ${path} has a .. in it`);
  return `/${parts.join('/')}`;
}
