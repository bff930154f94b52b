/** This machine in the words of image configurations. Host side, no I/O. Source: Go's GOOS and GOARCH. */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

export const hostPlatform: Readonly<Platform> = {
  os: 'linux',
  architecture: process.arch === 'x64' ? 'amd64' : process.arch,
};

export function runsHere(platform: Platform): boolean {
  return platform.os === hostPlatform.os && platform.architecture === hostPlatform.architecture;
}

export function platformName({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
