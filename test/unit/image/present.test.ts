import { describe, expect, test } from 'vitest';
import { formatJson, formatTable, humanAge, humanSize, imageRows, inspectImage } from '../../../src/image/present.ts';
import type { Image } from '../../../src/image/records.ts';

const now = Date.parse('2026-01-31T12:00:00Z');
const ago = (seconds: number) => humanAge(new Date(now - seconds * 1000).toISOString(), now);
const digest = `sha256:${'cd'.repeat(32)}`;
const image: Image = {
  id: 'ab'.repeat(32),
  names: ['alpine:latest', 'localhost:5000/a:1', `alpine@${digest}`],
  config: { Cmd: ['sh'] },
  architecture: 'amd64',
  os: 'linux',
  created: '2026-01-31T09:00:00Z',
  size: 7_792_915,
  layers: ['ef'.repeat(16)],
  content: [{ diffId: `sha256:${'ef'.repeat(32)}`, size: 7_792_915 }],
};

describe('as docker shows it', () => {
  test.each([
    [0, '0B'],
    [999, '999B'],
    [1000, '1kB'],
    [7_792_915, '7.79MB'],
    [999_999, '1MB'],
    [1_234_000_000, '1.23GB'],
  ])('%i bytes', (bytes, text) => {
    expect(humanSize(bytes)).toBe(text);
  });

  test('ages', () => {
    expect(
      [0, 1, 59, 60, 119, 600, 3600, 7200, 47 * 3600, 3 * 86400, 20 * 86400, 90 * 86400, 800 * 86400].map(ago),
    ).toEqual([
      'Less than a second ago',
      '1 second ago',
      '59 seconds ago',
      'About a minute ago',
      'About a minute ago',
      '10 minutes ago',
      'About an hour ago',
      '2 hours ago',
      '47 hours ago',
      '3 days ago',
      '2 weeks ago',
      '3 months ago',
      '2 years ago',
    ]);
  });

  test('a line for each tag, one for an image without', () => {
    const rows = imageRows([image, { ...image, names: [] }, { ...image, names: [`b@${digest}`] }]);
    expect(formatTable(rows, now)).toBe(
      [
        'REPOSITORY         TAG       IMAGE ID       CREATED       SIZE',
        'alpine             latest    abababababab   3 hours ago   7.79MB',
        'localhost:5000/a   1         abababababab   3 hours ago   7.79MB',
        '<none>             <none>    abababababab   3 hours ago   7.79MB',
        'b                  <none>    abababababab   3 hours ago   7.79MB',
        '',
      ].join('\n'),
    );
    expect(JSON.parse(formatJson(rows, now).split('\n')[1]!)).toMatchObject({
      Repository: 'localhost:5000/a',
      Tag: '1',
    });
  });

  test('inspect', () => {
    expect(inspectImage(image)).toMatchObject({
      Id: `sha256:${image.id}`,
      RepoTags: ['alpine:latest', 'localhost:5000/a:1'],
      RepoDigests: [`alpine@${digest}`],
      Config: { Cmd: ['sh'] },
      RootFS: { Type: 'layers', Layers: [image.content[0]!.diffId] },
    });
  });
});
