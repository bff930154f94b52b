/** The working directory: entered by descriptor, then proven to be inside the root (SEC-02). */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { ProcessPlan } from '../plan/plan.ts';
import type { Stage } from '../stage/stage.ts';
import { ensureTarget, IN_ROOT } from './resolve.ts';

export function enterDirectory(stage: Stage, { cwd, createCwd }: ProcessPlan): void {
  stage.step({
    id: 'cwd',
    why: 'cwd is resolved without magic links such as /proc/self/fd/7, and the kernel is asked where we are',
    without:
      'a descriptor of the host that was left open could become the working directory: the whole host behind ".."',
    see: ['getcwd(2)', 'CVE-2024-21626'],
    explain: (error) =>
      new ContainerError(`the working directory ${cwd} ${reasons[error.code] ?? `can't be entered: ${error.code}`}`, {
        specPointer: '/process/cwd',
        cause: error,
      }),
  });
  const root = stage.openat2(k.AT_FDCWD, '/', k.O_PATH | k.O_DIRECTORY, 0);
  const fd = createCwd
    ? ensureTarget(stage, root, cwd, 'directory')
    : stage.openat2(root, cwd, k.O_PATH | k.O_DIRECTORY, IN_ROOT);
  stage.fchdir(fd);
  stage.close(fd);
  stage.close(root);
  if (!stage.getcwd().startsWith('/'))
    throw new ContainerError(`the working directory ${cwd} lies outside the container: refused`, {
      specPointer: '/process/cwd',
    });
}

const reasons: Record<string, string> = {
  ENOENT: 'does not exist in the container',
  ENOTDIR: 'is not a directory',
  ELOOP: 'leads through a link of /proc out of the container: refused',
};
