/** A folder that stands for the machine in security tests: whatever of it changes, something got out of a container. */
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';

/** A new folder with files, folders and the names that runtimes write to. */
export function makeDecoy(parent: string): string {
  const decoy = mkdtempSync(`${parent}/decoy-`);
  mkdirSync(`${decoy}/b/sub`, { recursive: true });
  mkdirSync(`${decoy}/pts`);
  for (const file of ['file', 'null', 'ptmx', 'console', 'core_pattern', 'b/file', 'b/sub/file'])
    writeFileSync(`${decoy}/${file}`, `untouched ${file}\n`);
  return decoy;
}

/** Every entry below a path with its kind, mode, owner, device, time of change and content. */
export function snapshot(path: string): Record<string, string> {
  const entries: Record<string, string> = {};
  const visit = (relative: string) => {
    const full = `${path}/${relative}`;
    const stat = lstatSync(full);
    const { mode, uid, gid, size, ino, rdev, ctimeMs } = stat;
    const content = stat.isSymbolicLink() ? readlinkSync(full) : stat.isFile() ? digest(full) : '';
    entries[relative] = [mode.toString(8), uid, gid, size, ino, rdev, ctimeMs, content].join(' ');
    if (stat.isDirectory()) for (const name of readdirSync(full)) visit(`${relative}/${name}`);
  };
  visit('.');
  return entries;
}

export function digest(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
