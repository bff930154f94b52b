/** What a command needs before it does anything, each missing thing one sentence. */
import { readFileSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import { asRoot } from './errors.ts';

/** The oldest kernel with all that is used: cgroup.kill came with 5.14. */
const oldest = [5, 14] as const;

export function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new ContainerError('tinyctr needs root to make namespaces, mounts and cgroups', {
      hint: asRoot(),
    });
  requireKernel(readFileSync('/proc/sys/kernel/osrelease', 'latin1'));
}

export function requireKernel(text: string): void {
  const [major = 0, minor = 0] = text.split('.').map((part) => Number.parseInt(part, 10));
  if (major < oldest[0] || (major === oldest[0] && minor < oldest[1]))
    throw new ContainerError(`this is Linux ${text}; tinyctr needs ${oldest.join('.')} or newer`);
}
