/** Images as docker shows them: the table of `images`, the JSON of `inspect`. Pure. */
import type { Image } from './records.ts';

/** Three significant digits and a decimal unit: 7.8MB. */
export function humanSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(3))}${units[unit]}`;
}

/** How long ago, in docker's words: About an hour ago, 3 weeks ago. */
export function humanAge(created: string, now: number): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(created)) / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.round(seconds / 3600);
  const days = Math.floor(hours / 24);
  if (seconds < 1) return 'Less than a second ago';
  if (seconds < 60) return `${seconds} second${seconds === 1 ? '' : 's'} ago`;
  if (minutes === 1) return 'About a minute ago';
  if (minutes < 60) return `${minutes} minutes ago`;
  if (hours === 1) return 'About an hour ago';
  if (hours < 48) return `${hours} hours ago`;
  if (days < 14) return `${days} days ago`;
  if (days < 60) return `${Math.floor(days / 7)} weeks ago`;
  if (days < 730) return `${Math.floor(days / 30)} months ago`;
  return `${Math.floor(days / 365)} years ago`;
}

/** 2026-01-31T12:00:00.000Z as docker's lists have it: 2026-01-31 12:00:00 +0000 UTC. */
export const goTime = (iso: string): string =>
  `${new Date(iso).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;

/** One line of `images`: an image has one for each of its tags, or one without a name. */
export interface ImageRow {
  repository: string;
  tag: string;
  /** What a registry of that repository knows it by: sha256:…, or <none>. */
  digest: string;
  image: Image;
}

export function imageRows(images: readonly Image[]): ImageRow[] {
  return images.flatMap((image) => {
    const digests = new Map(
      image.names.filter((name) => name.includes('@')).map((name) => name.split('@') as [string, string]),
    );
    const row = (repository: string, tag: string) => ({
      repository,
      tag,
      digest: digests.get(repository) ?? '<none>',
      image,
    });
    const tags = image.names.filter((name) => !name.includes('@'));
    if (tags.length === 0) return [row(image.names[0]?.split('@')[0] ?? '<none>', '<none>')];
    return tags.map((name) => row(name.slice(0, name.lastIndexOf(':')), name.slice(name.lastIndexOf(':') + 1)));
  });
}

export function formatTable(rows: readonly ImageRow[], now: number, digests = false): string {
  const cells = rows.map(({ repository, tag, digest, image }) => [
    repository,
    tag,
    ...(digests ? [digest] : []),
    image.id.slice(0, 12),
    humanAge(image.created, now),
    humanSize(image.size),
  ]);
  return formatColumns([
    ['REPOSITORY', 'TAG', ...(digests ? ['DIGEST'] : []), 'IMAGE ID', 'CREATED', 'SIZE'],
    ...cells,
  ]);
}

/** Lines of cells, each column as wide as its widest cell and three blanks, and ten at least, as docker's. */
export function formatColumns(lines: readonly string[][]): string {
  const widths = lines[0]!.map((_, column) => Math.max(7, ...lines.map((line) => line[column]!.length)) + 3);
  const joined = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('')
      .trimEnd(),
  );
  return joined.map((line) => `${line}\n`).join('');
}

/** One JSON object a line, with the keys of `docker images --format json` that mean something here. */
export function formatJson(rows: readonly ImageRow[], now: number): string {
  const lines = rows.map(({ repository, tag, digest, image }) =>
    JSON.stringify({
      CreatedAt: goTime(image.created),
      CreatedSince: humanAge(image.created, now),
      Digest: digest,
      ID: image.id.slice(0, 12),
      Repository: repository,
      Size: humanSize(image.size),
      Tag: tag,
    }),
  );
  return lines.map((line) => `${line}\n`).join('');
}

/** What `inspect` shows of an image, with docker's field names. */
export function inspectImage(image: Image): Record<string, unknown> {
  return {
    Id: `sha256:${image.id}`,
    RepoTags: image.names.filter((name) => !name.includes('@')),
    RepoDigests: image.names.filter((name) => name.includes('@')),
    Created: image.created,
    Architecture: image.architecture,
    ...(image.variant !== undefined && { Variant: image.variant }),
    Os: image.os,
    Size: image.size,
    Config: image.config,
    RootFS: { Type: 'layers', Layers: image.content.map(({ diffId }) => diffId) },
  };
}
