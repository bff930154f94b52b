/**
 * The detached containers of one run root: started, stopped, waited for, and started again as their policies say. What is true
 * stands on disk and in the kernel; here is only what is under way. One change of a container at a time.
 */
import { closeSync } from 'node:fs';
import type { ExitStatus } from '../core/host/child.ts';
import { sendSignal } from '../core/host/child.ts';
import { syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import {
  type ContainerRecord,
  listContainers,
  readRecord,
  removeContainer,
  writeRecord,
} from '../engine/containers.ts';
import { exitCode } from '../engine/foreground.ts';
import { endStored, startStored } from '../engine/stored.ts';
import { type RestartPolicy, readStored } from '../engine/stored-file.ts';
import { listStates, readStates, StateFolder } from '../lifecycle/state.ts';
import type { Keeper, News } from './keeper.ts';

/** Doubled with every start that did not last; a container that ran for LASTING_MS begins with it again. As docker's. */
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
const LASTING_MS = 10_000;
/** How often it is looked whether one in the foreground has ended, while somebody waits for it. */
const LOOK_MS = 50;

interface Running {
  id: string;
  root: string;
  startedMs: number;
  input: number | undefined;
  /** Resolves with its exit status once that is written down. */
  ended: Promise<number>;
  end: (exitCode: number) => void;
}

type Found = Pick<Running, 'ended' | 'input'> & { pid: number };

interface Life {
  /** Of the next start that nobody asked for. */
  delayMs: number;
  restarts: number;
  timer: NodeJS.Timeout | undefined;
  /** Somebody said stop: its policy does not bring it back. */
  stopped: boolean;
}

export class Containers {
  private readonly keeper: Keeper;
  private readonly runRoot: string;
  /** By pid of the first process, all that the keeper has. */
  private readonly running = new Map<number, Running>();
  private readonly lives = new Map<string, Life>();
  private readonly queues = new Map<string, Promise<unknown>>();

  constructor(runRoot: string, keeper: (tell: (news: News) => void) => Keeper) {
    this.runRoot = runRoot;
    this.keeper = keeper((news) => this.hear(news));
  }

  /** Nothing is under way, and nothing will happen by itself. */
  get isIdle(): boolean {
    return this.queues.size === 0 && [...this.lives.values()].every(({ timer }) => timer === undefined);
  }

  /** One after the other, for each container. */
  private async inTurn<T>(id: string, act: () => Promise<T>): Promise<T> {
    const before = this.queues.get(id) ?? Promise.resolve();
    const mine = before.then(act, act);
    const settled = mine.catch(() => undefined);
    this.queues.set(id, settled);
    void settled.then(() => this.queues.get(id) === settled && this.queues.delete(id));
    return await mine;
  }

  async start(root: string, id: string): Promise<void> {
    await this.inTurn(id, async () => {
      const life = this.lifeOf(id);
      clearTimeout(life.timer);
      life.timer = undefined;
      if (this.find(id)) return; // as with docker, it is no error that it runs
      Object.assign(life, { stopped: false, restarts: 0 });
      await this.startNow(root, id);
    });
  }

  private async startNow(root: string, id: string): Promise<void> {
    const unborn = new Set<number>();
    try {
      const started = await startStored(root, this.runRoot, id, this.lifeOf(id).restarts, (pid) => unborn.add(pid));
      const { pid, ...kept } = started;
      unborn.delete(pid);
      this.add(pid, id, root, undefined);
      this.keeper.keep(pid, kept, readStored(root, id).log);
      for (const fd of new Set(Object.values(kept))) if (fd !== undefined) closeSync(fd);
    } finally {
      for (const pid of unborn) this.keeper.forget(pid); // what failed, or gave way to its child
    }
  }

  private add(pid: number, id: string, root: string, input: number | undefined): Running {
    let end: Running['end'] = () => {};
    const ended = new Promise<number>((resolve) => {
      end = resolve;
    });
    const one: Running = { id, root, startedMs: Date.now(), input, ended, end };
    this.running.set(pid, one);
    return one;
  }

  /** What the keeper tells: of all it has at first, then of each end. */
  private hear({ pid, ended, input }: News): void {
    const known = this.running.get(pid) ?? this.recognize(pid);
    if (known === undefined) this.keeper.forget(pid);
    else known.input = input;
    if (known && ended) void this.inTurn(known.id, () => this.bury(pid, known, ended)).catch(fail);
  }

  /** One that an earlier supervisor started. */
  private recognize(pid: number): Running | undefined {
    const state = readStates(this.runRoot).find((each) => each.pid === pid);
    if (state === undefined) return undefined;
    this.lifeOf(state.id).restarts = readRecord(state.root, state.id)?.restarts ?? 0;
    return this.add(pid, state.id, state.root, undefined);
  }

  private async bury(pid: number, one: Running, status: ExitStatus): Promise<void> {
    const { id, root } = one;
    const state = readStates(this.runRoot).find((each) => each.id === id);
    const record = state && (await endStored(root, state, status));
    const again = record && this.policyOf(root, id, exitCode(status));
    this.keeper.forget(pid); // lets go of the lock
    this.running.delete(pid);
    const folder = StateFolder.adopt(this.runRoot, id, true);
    folder?.remove();
    const life = this.lifeOf(id);
    if (again && !life.stopped) this.startLater(root, id, one.startedMs);
    else {
      this.lives.delete(id);
      if (state?.remove) removeContainer(root, id);
    }
    one.end(exitCode(status));
  }

  private policyOf(root: string, id: string, code: number): boolean {
    const { restart } = readStored(root, id);
    return comesBack(restart, code, this.lifeOf(id).restarts);
  }

  private startLater(root: string, id: string, startedMs: number): void {
    const life = this.lifeOf(id);
    if (Date.now() - startedMs >= LASTING_MS) life.delayMs = FIRST_DELAY_MS;
    life.timer = setTimeout(() => {
      life.timer = undefined;
      life.restarts++;
      void this.inTurn(id, () => this.startNow(root, id)).catch(fail);
    }, life.delayMs);
    life.delayMs = Math.min(life.delayMs * 2, LONGEST_DELAY_MS);
  }

  /** Returns true if it had to be killed. */
  async stop(root: string, id: string, signal: number | undefined, timeoutS: number | undefined): Promise<boolean> {
    const life = this.lifeOf(id);
    clearTimeout(life.timer);
    life.timer = undefined;
    const record = this.doNotBringBack(root, id);
    const found = this.find(id);
    if (!found) return false;
    const seconds = timeoutS ?? readStored(root, id).stopTimeoutS;
    this.signal(found.pid, signal ?? record?.stopSignal ?? k.SIGTERM);
    const inTime = await Promise.race([found.ended.then(() => true), later(seconds * 1000)]);
    if (!inTime) this.signal(found.pid, k.SIGKILL);
    await found.ended;
    return !inTime;
  }

  kill(root: string, id: string, signal: number): void {
    const found = this.find(id);
    if (!found) throw notRunning(id);
    const stopSignal = readRecord(root, id)?.stopSignal ?? k.SIGTERM;
    if (signal === k.SIGKILL || signal === stopSignal) this.doNotBringBack(root, id); // as with docker
    this.signal(found.pid, signal);
  }

  /** Whoever ends it does not want it back. On disk as well: another supervisor is to know. */
  private doNotBringBack(root: string, id: string): ContainerRecord | undefined {
    this.lifeOf(id).stopped = true;
    const record = readRecord(root, id);
    if (record) writeRecord(root, { ...record, stopped: true });
    return record;
  }

  /** Those that an earlier supervisor, or one before the last boot, would have started again. */
  resume(root: string): void {
    const running = new Set(listStates(this.runRoot));
    for (const { id, ended, stopped, restarts = 0 } of listContainers(root)) {
      if (running.has(id) || !ended || stopped || this.lives.has(id)) continue;
      const { restart } = readStored(root, id);
      if (!comesBack(restart, ended.exitCode, restarts)) continue;
      this.lifeOf(id).restarts = restarts;
      this.startLater(root, id, Date.now());
    }
  }

  /** Its exit status, at once if it does not run. */
  async wait(root: string, id: string): Promise<number> {
    const found = this.find(id);
    return found ? await found.ended : (readRecord(root, id)?.ended?.exitCode ?? 0);
  }

  /** Its standard input or its terminal; owned by the caller. */
  input(id: string): HostFd {
    const found = this.find(id);
    if (!found) throw notRunning(id);
    if (found.input === undefined)
      throw new ContainerError(`container ${id.slice(0, 12)} has no standard input`, {
        hint: 'it was made without -i: tinyctr run -d -i …',
      });
    return this.keeper.take(found.input);
  }

  endInput(id: string): void {
    const found = this.find(id);
    if (found) this.keeper.endInput(found.pid);
  }

  private find(id: string): Found | undefined {
    for (const [pid, one] of this.running) if (one.id === id) return { pid, ...one };
    const state = readStates(this.runRoot).find((each) => each.id === id && each.pid > 0);
    return state && { pid: state.pid, ended: this.endOfOther(state), input: undefined };
  }

  /** One that `tinyctr run` attends in the foreground: its folder is there until its end is written down. */
  private async endOfOther({ id, root }: { id: string; root: string }): Promise<number> {
    while (listStates(this.runRoot).includes(id)) await later(LOOK_MS);
    return readRecord(root, id)?.ended?.exitCode ?? 137;
  }

  private lifeOf(id: string): Life {
    let life = this.lives.get(id);
    if (!life) {
      life = { delayMs: FIRST_DELAY_MS, restarts: 0, timer: undefined, stopped: false };
      this.lives.set(id, life);
    }
    return life;
  }

  private signal(pid: number, signal: number): void {
    const pidfd = syscall('pidfd_open', [pid, 0]) as HostFd;
    sendSignal(pidfd, signal);
    closeSync(pidfd);
  }
}

export function comesBack({ name, maxRetries }: RestartPolicy, code: number, restarts: number): boolean {
  if (name === 'no') return false;
  if (name !== 'on-failure') return true;
  return code !== 0 && (maxRetries === 0 || restarts < maxRetries);
}

const later = (ms: number): Promise<false> => new Promise((resolve) => setTimeout(() => resolve(false), ms));

function notRunning(id: string): ContainerError {
  return new ContainerError(`container ${id.slice(0, 12)} is not running`, { exitCode: 1 });
}

/** Nobody waits for it: it goes to the supervisor's log. */
function fail(error: unknown): void {
  console.error(error);
}
