/**
 * Platforms in the words of image configurations, and which of them runs on which. Pure.
 * Source: Go's GOOS and GOARCH; OCI image-spec, image-index.md; the order of preference is containerd's (platforms).
 */
import { ContainerError } from '../core/kernel/error.ts';

export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

/** Node's names that differ from Go's. */
const architectures: Record<string, string> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le', mipsel: 'mipsle' };

export const hostPlatform: Readonly<Platform> = {
  os: 'linux',
  architecture: architectures[process.arch] ?? process.arch,
};

/** Other names of architectures, as uname(1) and distributions have them. */
const aliases: Record<string, [architecture: string, variant?: string]> = {
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  i386: ['386'],
  i686: ['386'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
};

/** What a variant means when nothing is said, and what is said when nothing is meant. */
const unsaid: Record<string, string> = { arm64: 'v8', arm: 'v7', amd64: 'v1' };

/** One spelling for each platform: arm64 for arm64/v8 and aarch64, arm/v7 for armhf and arm. */
function normalised({ os, architecture, variant }: Platform): Required<Platform> {
  const [name, implied] = aliases[architecture.toLowerCase()] ?? [architecture.toLowerCase()];
  const said = variant?.replace(/^([0-9])/, 'v$1').replace(/\.0$/, '') || implied;
  return { os: os.toLowerCase(), architecture: name, variant: said ?? unsaid[name] ?? '' };
}

/** What runs where `platform` is wanted, the best first: an ARM of version 7 runs programs for 6, a 64-bit one those for 32. */
export function runnableOn(platform: Platform): Required<Platform>[] {
  const { os, architecture, variant } = normalised(platform);
  const here = (name: string, version: string) => ({ os, architecture: name, variant: version });
  const version = Number(/^v([0-9])$/.exec(variant)?.[1] ?? Number.NaN);
  const downTo = (least: number, name: string) =>
    Array.from({ length: Math.max(0, version - least + 1) }, (_, i) => here(name, `v${version - i}`));
  if (architecture === 'amd64' && version >= 1) return [...downTo(1, 'amd64'), here('386', '')];
  if (architecture === 'arm' && version >= 5) return downTo(5, 'arm');
  if (architecture === 'arm64' && version >= 8)
    return [...downTo(8, 'arm64'), ...['v8', 'v7', 'v6', 'v5'].map((older) => here('arm', older))];
  return [here(architecture, variant)];
}

/** How well something made for `offered` runs where `wanted` is: 0 is best, undefined not at all. */
export function rank(offered: Platform, wanted: Platform): number | undefined {
  const { os, architecture, variant } = normalised(offered);
  const at = runnableOn(wanted).findIndex(
    (one) => one.os === os && one.architecture === architecture && one.variant === variant,
  );
  return at < 0 ? undefined : at;
}

export function runsHere(platform: Platform): boolean {
  return rank(platform, hostPlatform) !== undefined;
}

export function platformName({ os, architecture, variant }: Platform): string {
  return variant === undefined || variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** `--platform`: OS/ARCH[/VARIANT], or ARCH alone. Throws ContainerError. */
export function parsePlatform(text: string): Platform {
  const words = text.split('/');
  const [os = '', architecture = '', variant] = words.length === 1 ? [hostPlatform.os, ...words] : words;
  if (words.length > 3 || words.some((word) => !/^[A-Za-z0-9_.-]+$/.test(word)))
    throw new ContainerError(`--platform ${text}: a platform is OS/ARCH or OS/ARCH/VARIANT, as linux/arm64`);
  if (os !== 'linux')
    throw new ContainerError(`--platform ${text}: only images for linux can be unpacked and run here`);
  const [name, implied] = aliases[architecture] ?? [architecture];
  const version = variant ?? implied;
  return { os, architecture: name, ...(version !== undefined && { variant: version }) };
}
