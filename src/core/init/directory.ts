/** The working directory: entered by descriptor, then proven to be inside the root (SEC-02). */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { ProcessPlan } from '../plan/plan.ts';
import type { Stage } from '../stage/stage.ts';
import { ensureTarget, exists, resolveInRoot } from './resolve.ts';

export function enterDirectory(stage: Stage, { cwd, createCwd }: ProcessPlan): void {
  stage.step({
    id: 'cwd',
    why: 'cwd is resolved without magic links such as /proc/self/fd/7, and the kernel is asked where we are',
    without:
      'a descriptor of the host that was left open could become the working directory: the whole host behind ".."',
    see: ['getcwd(2)', 'CVE-2024-21626'],
  });
  const root = stage.openat2(k.AT_FDCWD, '/', k.O_PATH | k.O_DIRECTORY, 0);
  const fd = createCwd ? ensureTarget(stage, root, cwd, 'directory') : resolveInRoot(stage, root, cwd);
  if (!exists(fd))
    throw new ContainerError(`the working directory ${cwd} does not exist in the container`, {
      specPointer: '/process/cwd',
    });
  if ((stage.statx(fd, '')!.mode & k.S_IFMT) !== k.S_IFDIR)
    throw new ContainerError(`the working directory ${cwd} is not a directory`, { specPointer: '/process/cwd' });
  stage.fchdir(fd);
  stage.close(fd);
  stage.close(root);
  if (!stage.getcwd().startsWith('/'))
    throw new ContainerError(`the working directory ${cwd} lies outside the container: refused`, {
      specPointer: '/process/cwd',
    });
}
