/** Which file is executed: what execvp(3) would choose, looked up before privileges are given away, so that errors are clear (E3). */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { FileStatus } from '../kernel/structs.ts';
import type { ProcessPlan } from '../plan/plan.ts';
import type { Stage } from '../stage/stage.ts';
import type { ContainerUser } from './user.ts';

export interface Command {
  path: string;
  argv: readonly string[];
  envp: readonly string[];
}

/** Exit code 127 if there is none, 126 if what there is can't be executed. */
export function findCommand(
  stage: Stage,
  plan: Pick<ProcessPlan, 'args' | 'env'>,
  user: Pick<ContainerUser, 'home'>,
): Command {
  stage.step({
    id: 'command',
    why: 'the command is looked up in the container’s PATH',
    see: ['execvp(3)', 'config.md: process.args'],
  });
  const envp = plan.env.some((e) => e.startsWith('HOME=')) ? plan.env : [...plan.env, `HOME=${user.home}`];
  const name = plan.args[0]!;
  if (!name.includes('/')) return { path: searchPath(stage, name, envp), argv: plan.args, envp };
  checkExecutable(stage, name);
  return { path: name, argv: plan.args, envp };
}

function searchPath(stage: Stage, name: string, envp: readonly string[]): string {
  const path = envp.findLast((entry) => entry.startsWith('PATH='))?.slice(5) ?? '';
  const candidates = name === '' ? [] : path.split(':').map((folder) => `${folder === '' ? '.' : folder}/${name}`);
  const statuses = stage.statx_paths(candidates);
  const isProgram = (status: FileStatus | undefined) =>
    status && (status.mode & k.S_IFMT) === k.S_IFREG && (status.mode & 0o111) !== 0;
  const found = candidates.find((_, i) => isProgram(statuses[i]));
  if (!found)
    throw new ContainerError(`exec: ${JSON.stringify(name)}: executable file not found in $PATH`, {
      exitCode: 127,
      hint: `PATH is ${JSON.stringify(path)}`,
    });
  return found;
}

function checkExecutable(stage: Stage, name: string): void {
  const [status] = stage.statx_paths([name]);
  if (!status) throw new ContainerError(`exec: ${JSON.stringify(name)}: no such file or directory`, { exitCode: 127 });
  const type = status.mode & k.S_IFMT;
  if (type === k.S_IFDIR)
    throw new ContainerError(`exec: ${JSON.stringify(name)}: permission denied: it is a directory`, { exitCode: 126 });
  if (type !== k.S_IFREG)
    throw new ContainerError(`exec: ${JSON.stringify(name)}: permission denied: it is not a regular file`, {
      exitCode: 126,
    });
  if ((status.mode & 0o111) === 0)
    throw new ContainerError(
      `exec: ${JSON.stringify(name)}: permission denied: its mode 0${(status.mode & 0o7777).toString(8)} has no x`,
      {
        exitCode: 126,
        hint: `chmod +x ${name}`,
      },
    );
}
