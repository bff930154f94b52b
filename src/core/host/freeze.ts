/** The freezer of cgroup v2. Host side. Source: the kernel's cgroup-v2.rst, cgroup.freeze and cgroup.events; poll(2). */
import { closeSync, openSync, readdirSync, readSync, writeFileSync } from 'node:fs';
import { ContainerError } from '../kernel/error.ts';
import { syscall } from './syscall.ts';

const POLLPRI = 2;

/**
 * Returns when every process in the cgroup and below has stopped, or may run again. cgroup.events is polled: the kernel wakes who
 * waits for a change. What can't be frozen in time (a process in uninterruptible sleep) is thawed again.
 * @throws ContainerError after `timeoutMs`
 */
export function setFrozen(folder: string, frozen: boolean, timeoutMs = 8000): void {
  const end = performance.now() + timeoutMs;
  try {
    writeFileSync(`${folder}/cgroup.freeze`, frozen ? '1' : '0');
    awaitFrozen(folder, frozen, end);
  } catch (error) {
    if (frozen) writeFileSync(`${folder}/cgroup.freeze`, '0');
    throw error;
  }
}

/** A cgroup that has processes says "frozen 1" when they are, whatever those below it do: so each is asked. */
function awaitFrozen(folder: string, frozen: boolean, end: number): void {
  const events = openSync(`${folder}/cgroup.events`, 'r');
  const wanted = `frozen ${frozen ? 1 : 0}`;
  try {
    while (!readAgain(events).split('\n').includes(wanted)) {
      const leftMs = Math.ceil(end - performance.now());
      if (leftMs <= 0)
        throw new ContainerError(`not every process in ${folder} could be ${frozen ? 'frozen' : 'thawed'} in time`, {
          hint: 'one of them waits in the kernel for something that no signal interrupts: see /proc/PID/stack',
        });
      waitForChange(events, leftMs);
    }
  } finally {
    closeSync(events);
  }
  if (!frozen) return; // what the container itself has frozen below stays so
  for (const { name } of readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    awaitFrozen(`${folder}/${name}`, frozen, end);
}

/** Reading from the start also tells poll(2) what has been seen. */
function readAgain(fd: number): string {
  const text = Buffer.alloc(256);
  return text.toString('latin1', 0, readSync(fd, text, 0, text.length, 0));
}

function waitForChange(fd: number, timeoutMs: number): void {
  const polled = Buffer.alloc(8); // struct pollfd { int fd; short events, revents; }
  polled.writeInt32LE(fd, 0);
  polled.writeInt16LE(POLLPRI, 4);
  const timespec = BigInt64Array.of(BigInt(Math.floor(timeoutMs / 1000)), BigInt(timeoutMs % 1000) * 1_000_000n);
  syscall('ppoll', [polled, 1, new Uint8Array(timespec.buffer), null, 0], ['EINTR']);
}
