/** The containers that run: those that the keeper has, and those that a `tinyctr run` attends, as their folders tell. */
import { readFileSync } from 'node:fs';
import { readRecord } from '../engine/containers.ts';
import { listStates, type RunState, readRunState, readStates } from '../lifecycle/state.ts';

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
}

export class RunningContainers {
  private readonly runRoot: string;
  private readonly defaultRoot: string;
  private readonly byPid = new Map<number, Running>();
  private readonly byId = new Map<string, Running>();
  /** What the folders said when an earlier supervisor's were first asked for: reading all of them for each would take a while. */
  private found: Map<number, RunState> | undefined;

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
    this.found?.delete(pid);
  }

  /** Also one that an earlier supervisor started; undefined for a process that is no container. */
  get(pid: number): Running | undefined {
    return this.byPid.get(pid) ?? this.recognize(pid);
  }

  private recognize(pid: number): Running | undefined {
    this.found ??= new Map(readStates(this.runRoot).map((state) => [state.pid, state]));
    const { id = this.idOf(pid), root = this.defaultRoot } = this.found.get(pid) ?? {};
    return id === undefined ? undefined : this.add(pid, id, root);
  }

  /** By its cgroup, whose last name is the id: the state may be damaged. cgroups(7), /proc/pid/cgroup. */
  private idOf(pid: number): string | undefined {
    const id = /^0::.*\/([0-9a-f]{64})(?: \(deleted\))?$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1];
    return id !== undefined && listStates(this.runRoot).includes(id) ? id : undefined;
  }

  byName(id: string): Pick<Running, 'pid' | 'ended' | 'input'> | undefined {
    const one = this.byId.get(id);
    if (one) return one;
    const state = readRunState(this.runRoot, id);
    return state && state.pid > 0 ? { pid: state.pid, ended: this.endOfOther(state), input: undefined } : undefined;
  }

  /** One that `tinyctr run` attends in the foreground: its folder is there until its end is written down. */
  private async endOfOther({ id, root }: RunState): Promise<number> {
    while (listStates(this.runRoot).includes(id)) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    return readRecord(root, id)?.ended?.exitCode ?? 137;
  }
}
