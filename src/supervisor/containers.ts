/**
 * The detached containers of one run root: started, stopped, waited for, and started again as their policies say. What is true
 * stands on disk and in the kernel; here is only what is under way.
 */
import { closeSync, existsSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import type { ExitStatus } from '../core/host/child.ts';
import { setFrozen } from '../core/host/freeze.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { bootId, type ContainerRecord, changeRecord, listContainers, readRecord } from '../engine/containers.ts';
import { containerEvent, tell } from '../engine/journal.ts';

import { removeWithVolumes } from '../engine/remove-container.ts';

import { comesBack } from '../engine/restart-policy.ts';

import { type AfterEnd, endOf, settle, startStored } from '../engine/stored.ts';
import { DEFAULT_STOP_TIMEOUT_S, type RestartPolicy, readStored, storedIfWhole } from '../engine/stored-file.ts';
import { ageMs, cgroupOf } from '../lifecycle/first-process.ts';
import { listStates, type RunState, readRunState, StateFolder, writeRunState } from '../lifecycle/state.ts';
import type { Keeper, Listener, News } from './keeper.ts';
import type { Request } from './protocol.ts';
import { comesBackAtBoot, LOST, monotonicMs, msUntil, nextPause } from './restart.ts';
import { type Found, type Running, RunningContainers } from './running.ts';
import { Turns } from './turns.ts';

type StopRequest = Extract<Request, { op: 'stop' }>;

/** What could not be written down (a full disk) is tried again after so long. */
const AGAIN_MS = 1000;

/** A container between its end and its next start. */
interface Pause {
  timer: NodeJS.Timeout;
  /** Resolves when it is over: it was started, or is not to be any more. */
  over: Promise<void>;
  end: () => void;
}

export class Containers {
  private readonly keeper: Keeper;
  private readonly runRoot: string;
  private readonly running: RunningContainers;
  private readonly turns = new Turns();
  private readonly pauses = new Map<string, Pause>();
  /** Children of the keeper that are to become containers. */
  private readonly unborn = new Set<number>();
  /** Their ends are not written down yet: the disk is full. */
  private readonly late = new Map<Running, NodeJS.Timeout>();
  /** To be started because the machine was started anew, in this order. */
  private readonly booting = new Set<string>();

  constructor(root: string, runRoot: string, keeper: (listener: Listener) => Keeper) {
    this.runRoot = runRoot;
    this.running = new RunningContainers(runRoot, root);
    this.keeper = keeper({ hear: (news) => this.hear(news), heardAll: () => this.reapOthers() });
  }

  /** Nothing is under way, and nothing will happen by itself. */
  get isIdle(): boolean {
    return this.turns.isIdle && this.pauses.size + this.booting.size + this.late.size === 0;
  }

  async start(root: string, id: string): Promise<void> {
    await this.turns.take(id, async () => {
      if (this.running.byName(id)) return; // as with docker, it is no error that it runs
      const late = this.running.own(id);
      if (late?.over) await this.bury(late, { exited: late.over.exitCode });
      await this.startNow(root, id, false);
    });
  }

  /** `again`: nobody asked for it, its policy did. */
  private async startNow(root: string, id: string, again: boolean): Promise<void> {
    const unborn = new Set<number>();
    const born = (pid: number) => {
      unborn.add(pid);
      this.unborn.add(pid);
    };
    try {
      const { pid, ...kept } = await startStored(root, this.runRoot, id, again, born);
      unborn.delete(pid);
      const one = this.running.add(pid, id, root);
      this.unborn.delete(pid);
      this.keeper.keep(pid, kept, readStored(root, id).log);
      for (const fd of new Set(Object.values(kept))) if (fd !== undefined) closeSync(fd);
      await one.kept;
    } catch (error) {
      if (!isFull(error)) this.noNextStart(root, id, {});
      throw error;
    } finally {
      for (const pid of unborn) {
        this.keeper.forget(pid); // what failed, or gave way to its child
        this.unborn.delete(pid);
      }
      this.endPause(id);
    }
  }

  /** What the keeper tells: of all it has at first, then of each end. */
  private hear({ pid, ended, input }: News): void {
    const one = this.running.get(pid);
    if (one === undefined) this.keeper.forget(pid);
    else one.keep(input);
    if (one && ended) this.endOf(one, ended);
  }

  /** What is still about to end is looked at again. */
  private reapOthers(): void {
    const known = new Set([...this.running.pids(), ...this.unborn]);
    if (this.keeper.forgetOthers(known) > 0) setTimeout(() => this.reapOthers(), AGAIN_MS);
  }

  private endOf(one: Running, status: ExitStatus): void {
    this.turns.take(one.id, () => this.bury(one, status)).catch((error) => this.buryLater(one, status, error));
  }

  /** Told of an end a second time, after a kill in between, it comes out the same. Throws what keeps it from being written down. */
  private async bury(one: Running, status: ExitStatus): Promise<void> {
    const { id, root, pid } = one;
    if (!this.running.has(one)) return; // somebody has removed it meanwhile
    const state = this.stateOf(one);
    const lastedMs = ageMs(pid);
    one.over ??= state.ended ?? endOf(root, state, status);
    const { exitCode } = one.over;
    const next = (before: ContainerRecord) => this.whatComesNext(root, before, exitCode, lastedMs, one);
    const record = settle(root, state, one.over, next);
    this.letGo(one);
    try {
      const folder = StateFolder.adopt(this.runRoot, id, true);
      const removed = folder && state.remove ? removeWithVolumes(root, id) : undefined;
      if (removed) tell(root, [containerEvent(removed, 'destroy')]);
      folder?.remove(); // last: while it is there, the next command knows
    } finally {
      one.end(exitCode);
    }
    if (record?.dueMs !== undefined) this.startLater(root, id, record.dueMs);
  }

  private stateOf({ id, pid, root }: Running): RunState {
    const state = readRunState(this.runRoot, id);
    return state && !state.damage ? state : { id, pid, root, cgroup: cgroupOf(pid) ?? `/tinyctr/${id}`, remove: false };
  }

  /** The disk is full, say. Who waits for its end is told at once; who looks at its state, too, if that can be written. */
  private buryLater(one: Running, status: ExitStatus, error: unknown): void {
    if (!this.late.has(one)) fail(error);
    this.late.set(
      one,
      setTimeout(() => this.endOf(one, status), AGAIN_MS),
    );
    if (one.over === undefined) return;
    try {
      writeRunState(this.runRoot, { ...this.stateOf(one), ended: one.over });
    } catch {
      // No room there either: the keeper has it until it is written down.
    }
    one.end(one.over.exitCode);
  }

  /** The keeper lets go of its lock: whoever has that next sees to what is left. */
  private letGo(one: Running): void {
    clearTimeout(this.late.get(one));
    this.late.delete(one);
    this.keeper.forget(one.pid);
    this.running.delete(one);
  }

  private whatComesNext(
    root: string,
    record: ContainerRecord,
    code: number,
    lastedMs: number,
    one?: Running,
  ): AfterEnd {
    const { id, restarts = 0 } = record;
    const stopped = record.stopped || one?.isUnwanted;
    if (stopped) return { stopped };
    if (!comesBack(policyOf(root, id), code, restarts)) return {};
    const pauseMs = nextPause(record.pauseMs, lastedMs);
    return { restarts: restarts + 1, pauseMs, dueMs: monotonicMs() + pauseMs };
  }

  private startLater(root: string, id: string, dueMs: number): void {
    this.endPause(id);
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    const start = async () => {
      if (this.pauses.get(id) !== pause) return; // somebody stopped or started it
      await this.startNow(root, id, true).catch((error) => {
        fail(error);
        if (isFull(error)) this.startLater(root, id, monotonicMs() + AGAIN_MS);
      });
    };
    const timer = setTimeout(() => this.turns.take(id, start).catch(fail), msUntil(dueMs));
    const pause: Pause = { timer, over, end };
    this.pauses.set(id, pause);
  }

  private endPause(id: string): void {
    const pause = this.pauses.get(id);
    clearTimeout(pause?.timer);
    this.pauses.delete(id);
    pause?.end();
  }

  /** Returns true if it had to be killed. */
  async stop({ root, id, signal, timeoutS, remove }: StopRequest): Promise<boolean> {
    await this.turns.settled(id); // a start that is under way
    const record = this.doNotBringBack(root, id);
    const found = this.running.byName(id);
    const seconds = timeoutS ?? storedIfWhole(root, id)?.stopTimeoutS ?? DEFAULT_STOP_TIMEOUT_S;
    const asked = signal ?? record?.stopSignal ?? k.SIGTERM;
    const say = (action: string, more?: Record<string, string>) =>
      record && tell(root, [containerEvent(record, action, more)]);
    const send = (number: number) => {
      say('kill', { signal: String(number) });
      found?.signal(number);
    };
    const inTime = found ? await this.stopFound(id, found, send, asked, seconds) : true;
    if (found && !remove) say('stop');
    const late = remove && this.running.own(id);
    if (late && this.late.has(late)) this.letGo(late);
    return !inTime;
  }

  private async stopFound(
    id: string,
    found: Found,
    send: (signal: number) => void,
    signal: number,
    seconds: number,
  ): Promise<boolean> {
    send(signal);
    this.thaw(id); // else it would not hear
    const inTime = await Promise.race([found.ended.then(() => true), later(seconds * 1000)]);
    if (!inTime && signal !== k.SIGKILL) send(k.SIGKILL);
    await found.ended;
    return inTime;
  }

  async kill(root: string, id: string, signal: number): Promise<void> {
    await this.turns.settled(id);
    const found = this.running.byName(id);
    if (!found) throw notRunning(id);
    const record = readRecord(root, id);
    const stopSignal = record?.stopSignal ?? k.SIGTERM;
    if (signal === k.SIGKILL || signal === stopSignal) this.doNotBringBack(root, id); // as with docker
    if (record) tell(root, [containerEvent(record, 'kill', { signal: String(signal) })]);
    found.signal(signal);
  }

  /** Whoever ends it does not want it back. On disk as well: another supervisor is to know. A full disk keeps nobody from ending it. */
  private doNotBringBack(root: string, id: string): ContainerRecord | undefined {
    this.booting.delete(id);
    this.endPause(id);
    const one = this.running.own(id);
    if (one) one.isUnwanted = true;
    return this.noNextStart(root, id, { stopped: true });
  }

  /** It waits for no next start any more. */
  private noNextStart(root: string, id: string, more: { stopped?: true }): ContainerRecord | undefined {
    try {
      return changeRecord(root, id, (record) => {
        if (record.dueMs === undefined && policyOf(root, id).name === 'no') return record;
        const { dueMs: _, ...rest } = record;
        return { ...rest, ...more };
      });
    } catch (error) {
      fail(error);
      return readRecord(root, id);
    }
  }

  private thaw(id: string): void {
    const { cgroup } = readRunState(this.runRoot, id) ?? {};
    if (cgroup !== undefined && existsSync(cgroupRoot() + cgroup)) setFrozen(cgroupRoot() + cgroup, false);
  }

  /** Those that an earlier supervisor, or one before the last boot, would have started again. */
  resume(root: string): void {
    const running = new Set(listStates(this.runRoot));
    for (const record of listContainers(root))
      try {
        if (!running.has(record.id) && record.started !== undefined) this.resumeOne(root, record);
      } catch (error) {
        fail(error);
      }
    void this.startBooting(root);
  }

  private resumeOne(root: string, record: ContainerRecord): void {
    const { id, ended, dueMs } = record;
    if (record.boot !== bootId()) {
      if (comesBackAtBoot(policyOf(root, id), record)) this.booting.add(id);
    } else if (dueMs !== undefined) this.startLater(root, id, dueMs);
    else if (ended) {
      const next = this.whatComesNext(root, record, ended.exitCode, 0); // the keeper was killed, and the container with it
      if (next.dueMs === undefined) return;
      changeRecord(root, id, (now) => ({ ...now, ...next }));
      this.startLater(root, id, next.dueMs);
    }
  }

  /** One after the other: there may be many, and nobody waits for them. */
  private async startBooting(root: string): Promise<void> {
    for (const id of this.booting)
      await this.turns
        .take(id, async () => {
          if (this.booting.has(id) && !this.running.byName(id)) await this.startNow(root, id, false);
        })
        .catch((error) => {
          fail(error);
          this.endOfLost(root, id);
        })
        .finally(() => this.booting.delete(id));
  }

  /** What can't be started is not tried again in this boot, unless its policy says so. */
  private endOfLost(root: string, id: string): void {
    const lost = { at: new Date().toISOString(), exitCode: LOST };
    changeRecord(root, id, (record) => ({ ...record, boot: bootId(), ended: record.ended ?? lost }));
  }

  /** Its exit status, at once if it does not run; of one that waits for its next start, that of the next run. */
  async wait(root: string, id: string): Promise<number> {
    for (;;) {
      await this.turns.settled(id);
      const found = this.running.byName(id);
      if (found) return await found.ended;
      const pause = this.pauses.get(id);
      if (pause) await pause.over;
      else {
        const code = this.lastEnd(root, id);
        if (code !== undefined) return code;
        await later(AGAIN_MS / 20); // it has just ended, and the keeper has not told of it yet
      }
    }
  }

  /** Undefined: it has ended, and how is about to be known. */
  private lastEnd(root: string, id: string): number | undefined {
    const state = readRunState(this.runRoot, id);
    const ended = this.running.own(id)?.over ?? state?.ended;
    if (ended === undefined && state !== undefined && state.pid > 0) return undefined;
    return (ended ?? readRecord(root, id)?.ended)?.exitCode ?? 0;
  }

  /** Its standard input or its terminal; owned by the caller. */
  input(id: string): HostFd {
    const found = this.running.byName(id);
    if (!found) throw notRunning(id);
    if (found.input === undefined)
      throw new ContainerError(`container ${id.slice(0, 12)} has no standard input`, {
        hint: 'it was made without -i: tinyctr run -d -i …',
      });
    return this.keeper.copy(found.input);
  }

  endInput(id: string): void {
    const found = this.running.byName(id);
    if (found) this.keeper.endInput(found.pid);
  }
}

/** None of one that is damaged. */
function policyOf(root: string, id: string): RestartPolicy {
  return storedIfWhole(root, id)?.restart ?? { name: 'no', maxRetries: 0 };
}

/** A disk, or what somebody may have of it. */
function isFull(error: unknown): boolean {
  const { code, cause } = error as { code?: string; cause?: unknown };
  return code === 'ENOSPC' || code === 'EDQUOT' || (cause !== undefined && isFull(cause));
}

const later = (ms: number): Promise<false> => new Promise((resolve) => setTimeout(() => resolve(false), ms));

function notRunning(id: string): ContainerError {
  return new ContainerError(`container ${id.slice(0, 12)} is not running`, { exitCode: 1 });
}

/** Nobody waits for it: it goes to the supervisor's log. */
function fail(error: unknown): void {
  console.error(error);
}
