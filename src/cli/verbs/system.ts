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
import type { Places } from '../../engine/ps-filter.ts';
import { psDetails, psRow } from '../../engine/ps-row.ts';
import { formatColumns, goTime, humanAge, humanSize, imageRows } from '../../image/present.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('system')
    .description('About the store.')
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
