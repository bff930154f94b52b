/** The containers that run: those that the keeper has, and those that a `tinyctr run` attends, as their folders tell. */
import { closeSync } from 'node:fs';
import { sendSignal } from '../core/host/child.ts';
import { syscall } from '../core/host/syscall.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { cleanupOne } from '../engine/cleanup.ts';
import { type Ended, readRecord } from '../engine/containers.ts';
import { cgroupOf, openFirstProcess } from '../lifecycle/first-process.ts';
import { listStates, type RunState, readRunState } from '../lifecycle/state.ts';

/** How often it is looked whether one in the foreground has ended, while somebody waits for it. */
const LOOK_MS = 50;

export interface Running {
  id: string;
  /** Of its first process. */
  pid: number;
  root: string;
  /** Resolves when the keeper has it. */
  kept: Promise<void>;
  /** Called with the keeper's number of the write end of its standard input. */
  keep: (input: number | undefined) => void;
  input: number | undefined;
  /** Resolves with its exit status once that is written down. */
  ended: Promise<number>;
  end: (exitCode: number) => void;
  /** How it ended; that is about to be written down, or could not be. */
  over?: Ended;
  /** Somebody stopped it. */
  isUnwanted?: true;
}

export interface Found extends Pick<Running, 'pid' | 'ended' | 'input'> {
  /** Does nothing to one that has ended, nor to whoever has its pid then. */
  signal(signal: number): void;
}

export class RunningContainers {
  private readonly runRoot: string;
  private readonly defaultRoot: string;
  private readonly byPid = new Map<number, Running>();
  private readonly byId = new Map<string, Running>();
  /** `defaultRoot`: of a container whose state can't be read. */
  constructor(runRoot: string, defaultRoot: string) {
    this.runRoot = runRoot;
    this.defaultRoot = defaultRoot;
  }

  pids(): Iterable<number> {
    return this.byPid.keys();
  }

  add(pid: number, id: string, root: string): Running {
    let end: Running['end'] = () => {};
    const ended = new Promise<number>((resolve) => {
      end = resolve;
    });
    let told = () => {};
    const kept = new Promise<void>((resolve) => {
      told = resolve;
    });
    const keep = (input: number | undefined) => {
      one.input = input;
      told();
    };
    const one: Running = { id, pid, root, kept, keep, input: undefined, ended, end };
    this.byPid.set(pid, one);
    this.byId.set(id, one);
    return one;
  }

  delete({ id, pid }: Running): void {
    this.byPid.delete(pid);
    this.byId.delete(id);
  }

  /** Also one that an earlier supervisor started; undefined for a process that is no container. */
  get(pid: number): Running | undefined {
    return this.byPid.get(pid) ?? this.recognize(pid);
  }

  has(one: Running): boolean {
    return this.byPid.get(one.pid) === one;
  }

  /** By its cgroup, whose last name is the id: what a file says of pids may be damaged, or of another life. */
  private recognize(pid: number): Running | undefined {
    const id = /\/([0-9a-f]{64})$/.exec(cgroupOf(pid) ?? '')?.[1];
    const state = id === undefined ? undefined : readRunState(this.runRoot, id);
    return state && this.add(pid, state.id, state.root || this.defaultRoot);
  }

  /** One that the keeper has. */
  own(id: string): Running | undefined {
    return this.byId.get(id);
  }

  /** One that runs. */
  byName(id: string): Found | undefined {
    const one = this.byId.get(id);
    if (one) return one.over ? undefined : { ...one, signal: (signal) => this.signalOwn(one, signal) };
    const state = readRunState(this.runRoot, id);
    const first = state && openFirstProcess(state);
    if (!first) return undefined;
    closeSync(first.pidfd);
    const signal = (number: number) => signalOther(state, number);
    return { pid: first.pid, ended: this.endOfOther(state), input: undefined, signal };
  }

  /** Until the keeper is told to forget it, its pid is nobody else's. */
  private signalOwn(one: Running, signal: number): void {
    if (!this.has(one)) return;
    const pidfd = syscall('pidfd_open', [one.pid, 0]) as HostFd;
    sendSignal(pidfd, signal);
    closeSync(pidfd);
  }

  /** One that `tinyctr run` attends in the foreground: its folder is there until its end is written down. Was that killed, it is done here. */
  private async endOfOther({ id, root }: RunState): Promise<number> {
    const itsRoot = root || this.defaultRoot;
    while (listStates(this.runRoot).includes(id)) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      try {
        cleanupOne(itsRoot, this.runRoot, id);
      } catch {
        break; // a full disk: it is over even so
      }
    }
    const ended = readRecord(itsRoot, id)?.ended ?? readRunState(this.runRoot, id)?.ended;
    return ended?.exitCode ?? 137;
  }
}

function signalOther(state: RunState, signal: number): void {
  const first = openFirstProcess(state);
  if (!first) return;
  sendSignal(first.pidfd, signal);
  closeSync(first.pidfd);
}
