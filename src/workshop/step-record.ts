/**
 * What stands in step.json, in the folder below the run root of a container that waits at a step: for those who look from a
 * second terminal. It is there only while it waits; when its tinyctr dies, whatever killed it, the lock of that folder
 * is free, and the next command removes the folder. Host side.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { listStates, StateFolder } from '../lifecycle/state.ts';

export interface StepRecord {
  id: string;
  /** Before the step, before or after a call of it, or after it failed. */
  at: 'step' | 'before' | 'after' | 'failed';
  step: { id: string; why: string; without?: string; see: readonly string[] };
  /** The one it stops before or after, or that failed; as strace prints it. */
  call?: string;
  /** The errno in words. */
  error?: string;
  /** What is proven about the failure, or likely. */
  because?: readonly string[];
  /** Those of the step, as far as they can be told beforehand. */
  calls: readonly string[];
  /** Of the process that is becoming the container's; 0 as long as there is none. With the start time it names a process for ever. */
  pid: number;
  startTime: string;
  /** Where the container's root is mounted before pivot_root. */
  rootfs: string;
  /** Its folder. */
  cgroup: string;
  /** What the container's command is going to have, in hexadecimal. */
  capabilities: string;
}

const fileIn = (folder: string): string => `${folder}/step.json`;

export function writeStep(folder: string, record: StepRecord): void {
  writeFileSync(`${fileIn(folder)}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${fileIn(folder)}.new`, fileIn(folder));
}

export function forgetStep(folder: string): void {
  rmSync(fileIn(folder), { force: true });
}

/** Those that wait just now: their tinyctr lives. */
export function waitingSteps(runRoot: string): StepRecord[] {
  return listStates(runRoot).flatMap((id) => {
    const record = readStep(`${runRoot}/${id}`);
    if (!record) return [];
    const orphan = StateFolder.adopt(runRoot, id);
    orphan?.release();
    return orphan ? [] : [record];
  });
}

function readStep(folder: string): StepRecord | undefined {
  try {
    return JSON.parse(readFileSync(fileIn(folder), 'utf8')) as StepRecord;
  } catch {
    return undefined; // it goes on just now, or never waited
  }
}
