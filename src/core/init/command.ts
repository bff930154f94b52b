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
  if (!found) throw cannot(name, 127, 'executable file not found in $PATH', `PATH is ${JSON.stringify(path)}`);
  return found;
}

function checkExecutable(stage: Stage, name: string): void {
  const [status] = stage.statx_paths([name]);
  if (!status) throw cannot(name, 127, 'no such file or directory');
  const type = status.mode & k.S_IFMT;
  if (type === k.S_IFDIR) throw cannot(name, 126, 'permission denied: it is a directory');
  if (type !== k.S_IFREG) throw cannot(name, 126, 'permission denied: it is not a regular file');
  const mode = `0${(status.mode & 0o7777).toString(8)}`;
  if ((status.mode & 0o111) === 0)
    throw cannot(name, 126, `permission denied: its mode ${mode} has no x`, `chmod +x ${name}`);
}

function cannot(name: string, exitCode: 126 | 127, why: string, hint?: string): ContainerError {
  return new ContainerError(`exec: ${JSON.stringify(name)}: ${why}`, { exitCode, hint });
}
