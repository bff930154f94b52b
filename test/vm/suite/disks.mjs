// A disk that nobody misses: a loop device over a file in the guest's memory; and swap that is compressed memory. Runs in the guest.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';

function must(program, ...args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error ?? stderr}`);
  return stdout.trim();
}

/** 16 MiB of zeros as /dev/loopN; `free` takes it away. */
export function loopDevice() {
  const file = `${mkdtempSync('/tmp/disk-')}/disk`;
  writeFileSync(file, '');
  truncateSync(file, 16 * 1024 * 1024);
  const path = must('losetup', '--find', '--show', file);
  const { rdev } = statSync(path);
  return { path, major: rdev >> 8, minor: rdev & 0xff, free: () => must('losetup', '--detach', path) };
}

/** Once: 256 MiB of swap. */
export function swapOn() {
  if (readFileSync('/proc/swaps', 'utf8').includes('zram')) return;
  must('/run/vm/modprobe', 'zram');
  writeFileSync('/sys/block/zram0/disksize', '256M');
  must('mkswap', '/dev/zram0');
  must('swapon', '/dev/zram0');
}
