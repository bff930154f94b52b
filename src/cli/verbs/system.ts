/** tinyctr system df: what takes room, in docker's columns. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { factsOf } from '../../engine/container-facts.ts';
import {
  type ContainerUsage,
  type DiskUsage,
  diskUsage,
  type ImageUsage,
  type Total,
  type VolumeUsage,
} from '../../engine/disk-usage.ts';
import { pruneContainers, pruneFilter } from '../../engine/prune.ts';
import type { Places } from '../../engine/ps-filter.ts';
import { psDetails, psRow } from '../../engine/ps-row.ts';
import { formatColumns, goTime, humanAge, humanSize, imageRows } from '../../image/present.ts';
import { readUntil } from '../../image/prune.ts';
import { confirmedAtTerminal } from '../confirm.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { requireRoot } from '../require.ts';
import { deletedContainers } from './container.ts';
import { prunedImages, whichImages } from './image.ts';
import { prunedVolumes } from './volume.ts';

export function define(program: Command, globals: () => Globals): void {
  const system = program.command('system').description('About the store.');
  definePrune(system, globals);
  system
    .command('df')
    .description('Show what images, their blobs and containers take, and what could be free.')
    .option('-v, --verbose', 'each image, each container and each volume')
    .addOption(formatOption('tinyctr system df', 'lines'))
    .action(async (options: { verbose?: boolean; format: string }) => {
      requireRoot();
      const places = globals();
      await cleanup(places.root, places.runRoot);
      const usage = diskUsage(places.root, places.runRoot);
      const json = options.format === 'json';
      process.stdout.write(
        options.verbose ? (json ? detailsJson : details)(usage, places) : (json ? summaryJson : summary)(usage),
      );
    });
}

function definePrune(system: Command, globals: () => Globals): void {
  system
    .command('prune')
    .description('Remove containers that have ended, and images that nobody needs.')
    .option('-a, --all', 'also images with a tag that no container uses')
    .option('-f, --force', "don't ask")
    .option('--filter <filter>', 'until=TIME: only what was made before', list)
    .option('--volumes', 'also anonymous volumes that no container has')
    .action(async (options: { all?: true; force?: true; volumes?: true; filter?: string[] }) => {
      requireRoot();
      const { root, runRoot } = globals();
      const all = options.all === true;
      const now = Date.now();
      const untils = (options.filter ?? []).map((text) => readUntil(text, now));
      const keeps = pruneFilter(options.filter ?? [], now);
      const warning = `This will remove:\n  - all stopped containers\n  - all ${whichImages(all)}\n${options.volumes ? '  - all anonymous volumes not used by at least one container\n' : ''}`;
      if (!options.force && !(await confirmedAtTerminal(warning))) return;
      await cleanup(root, runRoot);
      const containers = pruneContainers(root, runRoot, keeps);
      const images = prunedImages(root, { all, until: untils.length > 0 ? Math.min(...untils) : undefined });
      const volumes = options.volumes ? prunedVolumes(root, false) : { text: '', bytes: 0 };
      const bytes = containers.bytes + images.bytes + volumes.bytes;
      process.stdout.write(
        `${deletedContainers(containers)}${volumes.text}${images.text}Total reclaimed space: ${humanSize(bytes)}\n`,
      );
    });
}

type Row = Record<string, string>;

function summaryRows({ totals }: DiskUsage): Row[] {
  return [
    totalRow('Images', totals.images),
    totalRow('Blobs', totals.blobs),
    totalRow('Containers', totals.containers),
    totalRow('Local Volumes', totals.volumes),
  ];
}

/** The keys of docker's own format. */
function totalRow(type: string, { count, active, size, reclaimable }: Total): Row {
  const share = size > 0 ? ` (${Math.floor((100 * reclaimable) / size)}%)` : '';
  return {
    Active: String(active),
    Reclaimable: humanSize(reclaimable) + share,
    Size: humanSize(size),
    TotalCount: String(count),
    Type: type,
  };
}

function summary(usage: DiskUsage): string {
  const columns = { TYPE: 'Type', TOTAL: 'TotalCount', ACTIVE: 'Active', SIZE: 'Size', RECLAIMABLE: 'Reclaimable' };
  return table(columns, summaryRows(usage));
}

function summaryJson(usage: DiskUsage): string {
  return summaryRows(usage)
    .map((row) => `${JSON.stringify(row)}\n`)
    .join('');
}

function imageRow({ image, shared, unique, containers }: ImageUsage): Row[] {
  return imageRows([image]).map(({ repository, tag }) => ({
    Containers: String(containers),
    CreatedAt: goTime(image.created),
    CreatedSince: humanAge(image.created, Date.now()),
    ID: image.id.slice(0, 12),
    Repository: repository,
    SharedSize: humanSize(shared),
    Size: humanSize(image.size),
    Tag: tag,
    UniqueSize: humanSize(unique),
  }));
}

/** As `ps` has it. */
function containerRow({ container, size }: ContainerUsage, places: Places): Row {
  const [facts] = factsOf(places.root, places.runRoot, [container]);
  const row = psRow(facts!, places, { trunc: true, size: false, now: Date.now() });
  return { ...row, ...psDetails(facts!, places, true), Size: humanSize(size) };
}

const volumeRow = ({ name, links, size }: VolumeUsage): Row => ({
  Name: name,
  Links: String(links),
  Size: humanSize(size),
});

function details({ images, blobs, containers, volumes }: DiskUsage, places: Places): string {
  const imageColumns = {
    REPOSITORY: 'Repository',
    TAG: 'Tag',
    'IMAGE ID': 'ID',
    CREATED: 'CreatedSince',
    SIZE: 'Size',
    'SHARED SIZE': 'SharedSize',
    'UNIQUE SIZE': 'UniqueSize',
    CONTAINERS: 'Containers',
  };
  const containerColumns = {
    'CONTAINER ID': 'ID',
    IMAGE: 'Image',
    COMMAND: 'Command',
    'LOCAL VOLUMES': 'LocalVolumes',
    SIZE: 'Size',
    CREATED: 'RunningFor',
    STATUS: 'Status',
    NAMES: 'Names',
  };
  const row = (one: ContainerUsage) => containerRow(one, places);
  const blobRows = blobs.map(({ digest, size, images }) => ({
    Digest: digest.slice('sha256:'.length, 'sha256:'.length + 12),
    Images: String(images.length),
    Size: humanSize(size),
  }));
  return [
    `Images space usage:\n\n${table(imageColumns, images.flatMap(imageRow))}`,
    `Blobs space usage:\n\n${table({ BLOB: 'Digest', SIZE: 'Size', IMAGES: 'Images' }, blobRows)}`,
    `Containers space usage:\n\n${table(containerColumns, containers.map(row))}`,
    `Local Volumes space usage:\n\n${table({ 'VOLUME NAME': 'Name', LINKS: 'Links', SIZE: 'Size' }, volumes.map(volumeRow))}`,
  ].join('\n');
}

function detailsJson({ images, blobs, containers, volumes }: DiskUsage, places: Places): string {
  const document = {
    Images: images.flatMap(imageRow),
    Blobs: blobs.map(({ digest, size, images }) => ({
      Digest: digest,
      Images: images,
      Size: humanSize(size),
    })),
    Containers: containers.map((one) => containerRow(one, places)),
    Volumes: volumes.map(volumeRow),
  };
  return `${JSON.stringify(document)}\n`;
}

/** `columns`: keys of the rows by their headings. */
function table(columns: Readonly<Record<string, string>>, rows: readonly Row[]): string {
  const cells = rows.map((row) => Object.values(columns).map((key) => row[key] ?? ''));
  return formatColumns([Object.keys(columns), ...cells]);
}
