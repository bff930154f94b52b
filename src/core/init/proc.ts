/** What is written to /proc goes through a procfs of our own that is mounted nowhere: no file of the container can redirect it (SEC-07). */
import * as k from '../kernel/constants.ts';
import { ContainerError, type SyscallError } from '../kernel/error.ts';
import type { LabelPlan, Plan, ProcessPlan } from '../plan/plan.ts';
import type { Stage, StageFd } from '../stage/stage.ts';

/** A detached procfs of this pid namespace, and proven to be one. */
function openProc(stage: Stage): StageFd {
  const context = stage.fsopen('proc');
  stage.fsconfig_create(context);
  const proc = stage.fsmount(context, 0);
  stage.close(context);
  if (stage.fstatfs_type(proc) !== k.PROC_SUPER_MAGIC) throw new ContainerError('the private procfs is none');
  return proc;
}

function writeFile(stage: Stage, proc: StageFd, path: string, value: string): void {
  const fd = stage.openat2(proc, path, k.O_WRONLY, k.RESOLVE_BENEATH | k.RESOLVE_NO_MAGICLINKS | k.RESOLVE_NO_XDEV);
  stage.write(fd, value);
  stage.close(fd);
}

export function writeProc(stage: Stage, sysctls: Plan['sysctls'], process: Partial<ProcessPlan>): void {
  const { oomScoreAdj, labels = [] } = process;
  if (sysctls.length === 0 && oomScoreAdj === undefined && labels.length === 0) return;
  stage.step({
    id: 'proc',
    why: 'settings of the kernel and of the process go through a procfs that is mounted nowhere',
    see: ['CVE-2025-52881'],
  });
  const proc = openProc(stage);
  for (const { path, value } of sysctls) writeSysctl(stage, proc, path, value);
  if (oomScoreAdj !== undefined) writeOomScore(stage, proc, oomScoreAdj);
  for (const label of labels) writeLabel(stage, proc, label);
  stage.close(proc);
}

function writeSysctl(stage: Stage, proc: StageFd, path: string, value: string): void {
  stage.step({
    id: `sysctl ${path.replaceAll('/', '.')}`,
    why: 'a setting of the kernel that exists once per namespace',
    see: ['sysctl(8)', 'config-linux.md: Sysctl', 'CVE-2025-52881'],
    explain: (error) => sysctlError(path, value, error),
  });
  writeFile(stage, proc, `sys/${path}`, value);
}

function sysctlError(path: string, value: string, error: SyscallError): ContainerError {
  const reason =
    error.code === 'ENOENT' ? 'this kernel has no such setting' : `the kernel refuses ${JSON.stringify(value)}`;
  return new ContainerError(`sysctl ${path.replaceAll('/', '.')}: ${reason}`, {
    specPointer: '/linux/sysctl',
    cause: error,
  });
}

function writeOomScore(stage: Stage, proc: StageFd, score: number): void {
  stage.step({
    id: 'oom-score',
    why: 'how soon the kernel picks this process when the host runs out of memory',
    see: ['proc_pid_oom_score_adj(5)', 'config.md: oomScoreAdj'],
  });
  writeFile(stage, proc, 'self/oom_score_adj', String(score));
}

function writeLabel(stage: Stage, proc: StageFd, { file, value, specPointer }: LabelPlan): void {
  stage.step({
    id: `label ${file}`,
    why: 'the security module changes the label at the next exec: that of the container’s program',
    without: 'the program would keep the label of the runtime, which is mostly unconfined',
    see: ['apparmor(7)', 'selinux(8)', 'CVE-2019-16884'],
    explain: (error) =>
      new ContainerError(`the kernel refuses the label ${JSON.stringify(value)}: ${error.code}`, {
        specPointer,
        hint: error.code === 'ENOENT' ? 'no profile of this name is loaded: see apparmor_parser(8)' : undefined,
        cause: error,
      }),
  });
  writeFile(stage, proc, `self/${file}`, value);
}
