/** Files of a small image and of a host as a recording stage's world sees them, for tests of src/core/init. No I/O. */
import * as k from '../../src/core/kernel/constants.ts';
import { directory, file, type Tree, type WorldFile } from '../../src/workshop/files.ts';
import { type Recording, recordStage } from '../../src/workshop/recording-stage.ts';

export const link: WorldFile = { mode: k.S_IFLNK | 0o777 };

const smallImage: Record<string, WorldFile> = {
  ...Object.fromEntries(
    ['/', '/bin', '/dev', '/etc', '/home', '/proc', '/sys', '/tmp'].map((path) => [path, directory]),
  ),
  '/bin/sh': file('', 0o755),
  '/etc/passwd': file('root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n'),
  '/etc/group': file('root:x:0:root\nwheel:x:10:root,anna\nanna:x:1000:\naudio:x:29:anna\n'),
};

const proc: Record<string, WorldFile> = {
  ...Object.fromEntries(['', 'bus', 'fs', 'irq', 'sys', 'acpi', 'scsi'].map((name) => [`/${name}`, directory])),
  ...Object.fromEntries(
    ['kcore', 'keys', 'timer_list', 'sysrq-trigger', 'interrupts'].map((name) => [`/${name}`, file()]),
  ),
};

const filesystems: Record<string, Tree> = {
  proc: (path) => proc[path] ?? (/^\/(sys|self)\//.test(path) ? file() : undefined),
  sysfs: (path) => (['/', '/fs', '/fs/cgroup', '/firmware'].includes(path) ? directory : undefined),
  devpts: (path) => ({ '/': directory, '/ptmx': { mode: k.S_IFCHR | 0o666, rdev: 0x502 } })[path],
};

/** `files`: more of the container's, and of the host's with `host:` before their path. */
export function recordSmall(options: {
  watch: boolean | 'alone';
  files?: Record<string, WorldFile> | undefined;
  target: string;
}): Recording & { transcript: () => string } {
  const files: Record<string, WorldFile> = { ...smallImage, ...options.files };
  const recording = recordStage(
    { image: (path) => files[path], host: (path) => hostFile(files, path), filesystems, target: options.target },
    options.watch,
  );
  const transcript = () =>
    recording.steps
      .map(({ step, calls }) => `# ${step.id}\n${calls.map(({ text }) => `${text}\n`).join('')}`)
      .join('\n');
  return { ...recording, transcript };
}

/** A folder is there if something is in it. */
function hostFile(files: Record<string, WorldFile>, path: string): WorldFile | undefined {
  const below = `host:${path === '/' ? '' : path}/`;
  return files[`host:${path}`] ?? (Object.keys(files).some((name) => name.startsWith(below)) ? directory : undefined);
}
