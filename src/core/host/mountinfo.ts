/** /proc/PID/mountinfo as records. Host side. Source: proc_pid_mountinfo(5). */
import { readFileSync } from 'node:fs';

export interface MountInfo {
  id: number;
  parent: number;
  /** Root of the mount within its file system. */
  root: string;
  mountPoint: string;
  options: string[];
  /** shared:N, master:N, unbindable. */
  optionalFields: string[];
  fstype: string;
  source: string;
  superOptions: string[];
}

const unescapeOctal = (text: string): string =>
  text.includes('\\')
    ? text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
    : text;

export function parseMountinfo(text: string): MountInfo[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      const separator = fields.indexOf('-', 6);
      return {
        id: Number(fields[0]),
        parent: Number(fields[1]),
        root: unescapeOctal(fields[3]!),
        mountPoint: unescapeOctal(fields[4]!),
        options: fields[5]!.split(','),
        optionalFields: fields.slice(6, separator),
        fstype: fields[separator + 1]!,
        source: unescapeOctal(fields[separator + 2]!),
        superOptions: fields[separator + 3]?.split(',') ?? [],
      };
    });
}

export function readMountinfo(pid: number | 'self'): MountInfo[] {
  return parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
}
