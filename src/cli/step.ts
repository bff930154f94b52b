/** --step, --pause-before, --pause-after and --freeze of `run`, from words to who watches. Loaded only where one is given. */
import { spawnSync } from 'node:child_process';
import { syscallNames } from '../core/kernel/syscalls.ts';
import type { HostFd, Observer } from '../core/stage/stage.ts';
import { didYouMean } from '../engine/nearest.ts';
import type { Watch } from '../engine/run.ts';
import { Problems, UsageError } from '../engine/usage-error.ts';
import { catchAgain } from '../engine/wait.ts';
import { Stepper } from '../workshop/step.ts';
import type { Globals } from './globals.ts';

interface Stops {
  step?: boolean | undefined;
  pauseBefore?: string[] | undefined;
  pauseAfter?: string[] | undefined;
  freeze?: boolean | undefined;
  trace?: string | undefined;
}

/** `observer` is told of every call as well. @throws UsageError, and ContainerError where there is no terminal to ask at */
export function stepper(stops: Stops, globals: Globals, observer: Observer | undefined): Watch {
  const { step = false, pauseBefore = [], pauseAfter = [], freeze = false } = stops;
  const problems = new Problems();
  problems.each(pauseBefore, (name) => checkCall('--pause-before', name));
  problems.each(pauseAfter, (name) => checkCall('--pause-after', name));
  for (const name of pauseAfter)
    if (['seccomp', 'execve', 'execveat'].includes(name))
      problems.add(`--pause-after ${name}: it goes as one piece with execve, after which the container's program runs`);
  if (stops.trace !== undefined && (step || pauseBefore.length + pauseAfter.length > 0))
    problems.add(
      '--trace excludes --step and --pause-…: it would tell of the looking as well, not only of the building',
    );
  problems.throwIfAny();
  return new Stepper({ step, pauseBefore, pauseAfter, freeze, observer, shell: (id, at) => shell(globals, id, at) });
}

function checkCall(option: string, name: string): void {
  const known = syscallNames();
  if (!(known as string[]).includes(name))
    throw new UsageError(`${option} ${name}: tinyctr makes no such system call${didYouMean(name, known)}`);
}

/** The very command that a second terminal would give. */
function shell({ root, runRoot }: Globals, id: string, terminal: HostFd): void {
  const words = ['--root', root, '--run-root', runRoot, 'enter', '--at-step', id];
  spawnSync(process.execPath, [process.argv[1]!, ...words], { stdio: [terminal, terminal, terminal] });
  catchAgain();
}
