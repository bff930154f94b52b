/**
 * kill -9 at a step of a command: strace sends it as the command enters a system call, which is not carried out then
 * (ptrace(2), "Syscall-stops"; strace(1), "Tampering").
 */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';

/** strace's words before those of the command: it dies at the `nth` call of each name in `calls` (with commas between). */
export function dyingAt(calls: string, nth: number, { follow = false } = {}): string[] {
  const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:signal=SIGKILL:when=${nth}`];
  return ['strace', ...(follow ? ['-f'] : []), '-qq', '-o', '/dev/null', ...inject];
}

export interface Step {
  call: string;
  /** The how-manieth of this name. */
  nth: number;
  /** As strace prints it. */
  text: string;
}

/** What others can see of a process that works: files, locks, processes, signals, what it says to a stage. */
const telling = [
  /^(mkdir|mknod|rename|unlink|rmdir|chmod|fchmod|fchown|chown|link|symlink|ftruncate|flock)\w*\(/,
  /^(clone3|setns|bpf|kill|pidfd_\w+|waitid|\w*poll|\w*nanosleep|connect|sendmsg|recvmsg|memfd_create|socketpair|mount|umount2|fsopen|fsconfig|fsmount)\(/,
  /^openat\(.*O_(WRONLY|RDWR|CREAT|PATH)/,
  /^write\((?!\d+<anon_inode:\[eventfd\]>)/,
  /^close\(\d+<(\/.*\/(lock|gate|page)|socket:.*|anon_inode:\[pidfd\])>/,
  /^epoll_pwait\((?!.*, 0, NULL, 8\))/, // not if it only looks
  /^exit_group\(/,
];

/**
 * Runs a command to its end, and lists those calls of its main thread, in their order, after which something may be
 * different than before. It works in `folder`. `begins` is in the first line that counts: the start of Node changes nothing.
 */
export async function stepsOf(command: readonly string[], folder: string, begins: string): Promise<Step[]> {
  const file = `${folder}/strace`;
  await new Promise((resolve, reject) => {
    const child = spawn('strace', ['-y', '-qq', '-o', file, ...command], { stdio: 'ignore', cwd: folder });
    child.once('error', reject).once('exit', resolve);
  });
  const steps = readSteps(readFileSync(file, 'utf8'), begins);
  rmSync(file);
  return steps;
}

/** Those of what strace -y has written that count, from the line with `begins` on. */
export function readSteps(trace: string, begins: string): Step[] {
  const counts = new Map<string, number>();
  let begun = false;
  const steps: Step[] = [];
  for (const text of trace.split('\n')) {
    const call = /^(\w+)\(/.exec(text)?.[1];
    if (call === undefined) continue;
    const nth = (counts.get(call) ?? 0) + 1;
    counts.set(call, nth);
    begun ||= text.includes(begins);
    if (begun && telling.some((pattern) => pattern.test(text))) steps.push({ call, nth, text: text.slice(0, 150) });
  }
  return steps;
}
