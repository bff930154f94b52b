import { describe, expect, test } from 'vitest';
import { chooseManifest, type Descriptor } from '../../../src/image/manifest.ts';
import { parsePlatform, rank } from '../../../src/image/platform.ts';

const parse = (text: string) => {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant && { variant }) };
};
const entry = (platform: string): Descriptor => ({
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: platform,
  size: 1,
  annotations: {},
  ...(platform !== '?' && { platform: parse(platform) }),
});
const choose = (wanted: string, ...offered: string[]) =>
  chooseManifest(offered.map(entry), parsePlatform(wanted)).digest;

describe('which of several images is meant', () => {
  test.each([
    ['linux/amd64', ['linux/arm64/v8', 'linux/amd64', 'linux/386'], 'linux/amd64'],
    ['linux/amd64', ['windows/amd64', 'linux/386'], 'linux/386'],
    ['linux/amd64', ['linux/amd64/v3', 'linux/amd64'], 'linux/amd64'],
    ['linux/amd64/v3', ['linux/amd64', 'linux/amd64/v2', 'linux/amd64/v4'], 'linux/amd64/v2'],
    ['linux/arm64', ['linux/arm/v7', 'linux/arm64/v8'], 'linux/arm64/v8'],
    ['linux/arm64', ['linux/arm/v7', 'linux/arm64'], 'linux/arm64'],
    ['arm64', ['linux/arm/v6', 'linux/arm/v7'], 'linux/arm/v7'],
    ['linux/aarch64', ['linux/amd64', 'linux/arm64'], 'linux/arm64'],
    ['linux/arm', ['linux/arm/v5', 'linux/arm/v7', 'linux/arm/v6'], 'linux/arm/v7'],
    ['linux/arm/v7', ['linux/arm/v5', 'linux/arm/v6', 'linux/arm64'], 'linux/arm/v6'],
    ['linux/arm/v6', ['linux/arm/v7', 'linux/arm/v5'], 'linux/arm/v5'],
    ['linux/armhf', ['linux/arm/v6', 'linux/arm/v7'], 'linux/arm/v7'],
    ['linux/s390x', ['linux/s390x', 'linux/amd64'], 'linux/s390x'],
    ['linux/riscv64', ['?'], '?'],
  ])('%s of %j is %s', (wanted, offered, chosen) => {
    expect(choose(wanted, ...offered)).toBe(chosen);
  });

  test('none: the error lists what there is', () => {
    expect(() => choose('linux/arm/v6', 'linux/arm/v7', 'linux/amd64', 'linux/amd64')).toThrow(
      'no image for linux/arm/v6 is in there, only for: linux/arm/v7, linux/amd64',
    );
    expect(() => choose('linux/amd64', '?', '?')).toThrow('only for: unknown');
    expect(() => choose('linux/amd64')).toThrow('only for: nothing');
  });

  test('a newer variant does not run on an older one', () => {
    expect(rank(parse('linux/amd64/v2'), parse('linux/amd64'))).toBeUndefined();
    expect(rank(parse('linux/arm64/v9'), parse('linux/arm64'))).toBeUndefined();
    expect(rank(parse('linux/arm64'), parse('linux/arm64/v9'))).toBe(1);
  });
});

describe('--platform', () => {
  test.each(['linux/arm64/v8/x', 'linux/', '', '/amd64', 'linux/am d'])('%j is no platform', (text) => {
    expect(() => parsePlatform(text)).toThrow('a platform is OS/ARCH');
  });
  test('only linux', () => {
    expect(() => parsePlatform('windows/amd64')).toThrow('only images for linux');
  });
});
