/** The freezer of cgroup v2. Host side. Source: the kernel's cgroup-v2.rst, cgroup.freeze and cgroup.events; poll(2). */
import { readdirSync, writeFileSync } from 'node:fs';
import { ContainerError } from '../kernel/error.ts';
import { awaitEvent } from './cgroup.ts';

/**
 * Returns when every process in the cgroup and below has stopped, or may run again. What can't be frozen in time (a process in uninterruptible sleep) is thawed again.
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
  if (!awaitEvent(folder, `frozen ${frozen ? 1 : 0}`, Math.max(0, Math.ceil(end - performance.now()))))
    throw new ContainerError(`not every process in ${folder} could be ${frozen ? 'frozen' : 'thawed'} in time`, {
      hint: 'one of them waits in the kernel for something that no signal interrupts: see /proc/PID/stack',
    });
  if (!frozen) return; // what the container itself has frozen below stays so
  for (const { name } of readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    awaitFrozen(`${folder}/${name}`, frozen, end);
}
