/**
 * --step, --pause-before, --pause-after and --freeze: the construction of a container stands still, and whoever sits at
 * the terminal says how it goes on. The stage asks before each call (Observer.before), and waits as long as it takes.
 * Host side.
 */
import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { killCgroup } from '../core/host/cgroup.ts';
import { hostWatch } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import type { Plan } from '../core/plan/plan.ts';
import type { HostFd, Observer, Step } from '../core/stage/stage.ts';
import { startTime } from '../lifecycle/lifecycle.ts';
import { type ExplainedStep, explainPlan } from './explain.ts';
import { type KernelView, viewOf } from './kernel-view.ts';
import { likelyCause } from './likely-causes.ts';
import { formatStop, type Paint, painter, row, type Stop, toldRows } from './step-format.ts';
import { forgetStep, type StepRecord, writeStep } from './step-record.ts';
import { Asker, letGoOfHungUp, openTerminal } from './step-terminal.ts';
import { straceCall } from './strace.ts';
import { changes, type Shorten, shortenFor, wholeView } from './view-changes.ts';

export interface StepOptions {
  step: boolean;
  /** Names of system calls. */
  pauseBefore: readonly string[];
  pauseAfter: readonly string[];
  freeze: boolean;
  /** A shell in the waiting container, from its beginning to its end. */
  shell: (id: string, terminal: HostFd) => void;
  /** Also told of every call. */
  observer: Observer | undefined;
}

/** What is about to be built. */
export interface Made {
  id: string;
  plan: Plan;
  /** Its folder below the run root. */
  folder: string;
  /** Its cgroup's folder. */
  cgroup: string;
  noStdin: boolean;
  /** Signals come as bytes from here. */
  signals: HostFd;
}

const stoppedBy: Record<number, string> = {
  1: 'the terminal has hung up',
  2: 'interrupted',
  3: 'interrupted',
  15: 'ended by SIGTERM',
};
const help = `
  Enter, n     next: make this step's calls, stop before the next step
  c            continue: stop only where --pause-before and --pause-after say so
  s            a shell in the half-built container; its end comes back here
  v            this stop in full, and all that the kernel says of it now
  q            quit: undo everything, exit with 125; also Ctrl-D, Ctrl-C (130)
  h            this
  From a second terminal: tinyctr inspect-step, tinyctr enter --at-step
`;
const QUESTION = '[Enter] next  c continue  s shell  v view  q quit  h help > ';

/** Watches one construction. `begin` comes first, then the calls of `observer`, then `failed` or nothing more. */
export class Stepper {
  readonly observer: Observer;
  private readonly options: StepOptions;
  private readonly terminal: HostFd | undefined;
  private made!: Made;
  private asker!: Asker;
  private paint!: Paint;
  private short!: Shorten;
  private planned: ExplainedStep[] = [];
  private every: boolean;
  private pid = 0;
  private current: Step = { id: 'none', why: '' };
  /** Of `current` in `planned`. */
  private index = -1;
  private view: KernelView | undefined;
  /** Nothing can be stopped any more: the last frame has begun. */
  private held = false;
  private quit = false;
  /** The stop that is waited at. */
  private shown: Stop | undefined;
  private over = false;

  /** @throws ContainerError where nobody can be asked */
  constructor(options: StepOptions) {
    this.options = options;
    this.every = options.step;
    const stops = options.step || options.pauseBefore.length > 0 || options.pauseAfter.length > 0;
    if (stops) this.terminal = openTerminal(options.step ? '--step' : '--pause-before and --pause-after');
    const observer: Observer = (event) => {
      options.observer?.(event);
      if (event.result !== undefined && event.result < 0) return;
      if (!this.held && options.pauseAfter.includes(event.name)) this.stop('after', straceCall(event.name, event.args));
    };
    observer.before = ({ step, name, args, held }) => {
      this.held = held || /^(execve|seccomp)/.test(name);
      this.before(step, name, () => straceCall(name, args), held);
    };
    if (!stops && options.observer?.frame) observer.frame = options.observer.frame;
    this.observer = observer;
  }

  /** Nothing of the container is there but its records. @throws ContainerError for a call that will never come */
  begin(made: Made): void {
    this.made = made;
    this.short = shortenFor(made.plan.root.target);
    this.paint = painter(process.env, this.terminal !== undefined || isatty(2));
    try {
      this.planned = explainPlan(made.plan, { noStdin: made.noStdin });
      this.check();
    } catch (error) {
      if (this.planned.length > 0) throw error; // else the construction will fail, and is going to be watched doing so
    }
    this.asker = new Asker(this.terminal ?? (0 as HostFd), this.terminal ?? (2 as HostFd), made.signals);
    if (this.terminal === undefined) return;
    this.view = viewOf('self');
    hostWatch.before = (funcName, args) => this.beforeHostCall(funcName, Number(args[0]));
    const [first] = this.planned;
    if (first?.phase === 'host') this.before(first, '', () => '', false);
  }

  private check(): void {
    const names = this.planned.flatMap(({ calls }) => calls.map(({ name, text }) => name ?? /^\w+/.exec(text)![0]));
    for (const [option, wanted] of [
      ['before', this.options.pauseBefore],
      ['after', this.options.pauseAfter],
    ] as const)
      for (const name of wanted)
        if (!names.includes(name))
          throw new ContainerError(`--pause-${option} ${name}: the construction of this container has no such call`, {
            hint: 'tinyctr explain run … shows those that it has',
          });
  }

  /** Its process is born, or another one takes its place. */
  born(pid: number): void {
    this.pid = pid;
  }

  /** What the host's side does by native-shim; that it makes a cgroup, only begin can tell. */
  private beforeHostCall(funcName: string, flags: number): void {
    if (funcName === 'tinyctr_bpf_prog_load') this.host('host.devices', 'bpf');
    if (funcName === 'tinyctr_spawn') this.host(flags === k.CLONE_NEWUSER ? 'host.id-maps' : 'host.birth', 'clone3');
  }

  private host(id: string, name: string): void {
    const step = this.planned.find((one) => one.phase === 'host' && one.id === id);
    if (!step) return;
    const call = step.calls.find(({ text }) => text.startsWith(name))?.text ?? name;
    this.before(step, name, () => call, false);
  }

  private before(step: Step, name: string, call: () => string, held: boolean): void {
    const isNew = step.id !== this.current.id;
    this.current = step;
    if (isNew)
      this.index = Math.max(
        this.index,
        this.planned.findIndex(({ id }) => id === step.id),
      );
    if (isNew && this.every) this.stop('step', call(), held);
    else if (this.options.pauseBefore.includes(name)) this.stop('before', call(), held);
  }

  private stop(at: StepRecord['at'], call: string, held = false): void {
    if (this.terminal === undefined || this.quit) return;
    const record = this.record(at, call);
    const now = this.look();
    const place = this.planned.length > 0 ? { number: this.index + 1, of: this.planned.length } : undefined;
    const told = now && this.view ? changes(this.view, now, this.short) : [];
    if (now) this.view = now;
    writeStep(this.made.folder, record);
    this.shown = { record, place, held, changes: told };
    this.asker.print(formatStop(this.shown, this.paint, this.short));
    this.converse(this.terminal);
    forgetStep(this.made.folder);
  }

  private converse(terminal: HostFd): void {
    for (;;) {
      const answer = this.asker.ask(QUESTION, () => startTime(this.pid) === '');
      if ('signal' in answer) this.end(`${stoppedBy[answer.signal]}`, 128 + answer.signal);
      if ('ended' in answer) this.end('quit', 125);
      if (!('line' in answer)) return;
      const { line } = answer;
      if (['', 'n', 'next'].includes(line)) {
        this.every = true;
        return;
      }
      if (['c', 'continue'].includes(line)) {
        this.every = false;
        return;
      }
      if (['q', 'quit'].includes(line)) this.end('quit', 125);
      if (['s', 'shell'].includes(line)) this.shell(terminal);
      else if (['v', 'view'].includes(line)) this.tellAll();
      else this.asker.print(['h', 'help', '?'].includes(line) ? help : `no such command: ${line}; h is help\n`);
    }
  }

  private shell(terminal: HostFd): void {
    if (this.pid === 0) this.asker.print('there is no process yet whose namespaces a shell could enter\n');
    else this.options.shell(this.made.id, terminal);
  }

  private tellAll(): void {
    const view = this.look();
    if (this.shown) this.asker.print(formatStop({ ...this.shown, whole: true }, this.paint, this.short));
    const text = view
      ? toldRows(this.paint, wholeView(view, this.short), Number.POSITIVE_INFINITY).join('\n')
      : 'there is no process yet';
    this.asker.print(`${text}\n`);
  }

  private end(why: string, exitCode: number): never {
    this.quit = true;
    letGoOfHungUp();
    forgetStep(this.made.folder);
    throw new ContainerError(`${why} at step ${this.current.id}: everything is undone`, { exitCode });
  }

  /** Undefined while there is no process, or none any more. */
  private look(): KernelView | undefined {
    try {
      return this.pid === 0 ? undefined : viewOf(this.pid);
    } catch {
      return undefined;
    }
  }

  private record(at: StepRecord['at'], call: string): StepRecord {
    const { id, plan, cgroup } = this.made;
    const { why, without, see = [] } = this.current;
    return {
      id,
      at,
      step: { id: this.current.id, why, ...(without === undefined ? {} : { without }), see },
      call,
      calls:
        this.planned[this.index]?.id === this.current.id ? this.planned[this.index]!.calls.map(({ text }) => text) : [],
      pid: this.pid,
      startTime: this.pid === 0 ? '' : startTime(this.pid),
      rootfs: plan.root.target,
      cgroup,
      capabilities: plan.process.capabilities.bounding.toString(16),
    };
  }

  /** The half-built container still stands; when this returns, it is taken down. `error` was explained as far as facts prove it. */
  failed(error: unknown): void {
    if (this.over) return;
    this.over = true;
    delete hostWatch.before;
    if (!this.quit && this.options.freeze) {
      if (this.pid > 0) this.freeze(error);
      else this.asker?.print('--freeze: it failed before there was a process: there is nothing to look at\n');
    }
    killCgroup(this.made.cgroup); // shells in there as well
    if (this.terminal !== undefined) closeSync(this.terminal);
  }

  private freeze(error: unknown): void {
    const failed = callOf(error);
    const record = { ...this.record('failed', failed?.facts.call ?? ''), ...reasons(error, failed) };
    const view = record.startTime === '' ? undefined : this.look();
    writeStep(this.made.folder, record);
    this.asker.print(formatStop({ record, held: false, changes: [] }, this.paint, this.short));
    const looks = view ? waysIn(record, view) : ['its process has ended: nothing is left to enter'];
    this.asker.print(`${looks.flatMap((line, i) => row(this.paint, i === 0 ? 'look' : '', line)).join('\n')}\n`);
    const answer = this.asker.ask('[Enter] cleans up > ', () => false);
    if (!('line' in answer)) this.asker.print('\n');
    letGoOfHungUp();
    forgetStep(this.made.folder);
  }
}

/** The system call that failed, deep in a chain of causes. */
function callOf(error: unknown): SyscallError | undefined {
  if (error instanceof SyscallError) return error;
  return error instanceof Error && error.cause !== undefined ? callOf(error.cause) : undefined;
}

function reasons(error: unknown, failed: SyscallError | undefined): Pick<StepRecord, 'error' | 'because'> {
  const errno = failed && `${failed.code}: ${errnoText(failed.facts.errno)}`;
  const said = error instanceof Error && error !== failed ? error.message : undefined;
  const hint = error instanceof ContainerError ? error.hint : undefined;
  const likely = failed && likelyCause(failed);
  const because = [said, hint, said === undefined && likely ? `likely: ${likely}` : undefined];
  return {
    error: errno ?? said ?? String(error),
    because: because.filter((line) => line !== undefined && line !== (errno ?? said)) as string[],
  };
}

const nsenterFlags: Record<string, string> = {
  user: 'U',
  mnt: 'm',
  pid: 'p',
  uts: 'u',
  ipc: 'i',
  net: 'n',
  cgroup: 'C',
  time: 'T',
};

function waysIn({ id, pid }: StepRecord, view: KernelView): string[] {
  const own = Object.entries(view.namespaces).filter(([, { ofHost }]) => !ofHost);
  const short = id.slice(0, 12);
  return [
    `tinyctr enter --at-step ${short}`,
    `tinyctr inspect-step ${short}`,
    `nsenter -t ${pid} ${own.map(([name]) => `-${nsenterFlags[name]}`).join(' ')} /bin/sh`,
  ];
}
