/** The labels that AppArmor and SELinux give a process when it executes its program. Host side. Source: runc's texts, apparmor(7), selinux(8). */
import { existsSync, readFileSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { LabelPlan } from '../core/plan/plan.ts';
import type { Linux, Process } from '../spec/types.ts';

/** @throws ContainerError if the kernel does not enforce what is asked for */
export function planLabels({ apparmorProfile, selinuxLabel }: Process): LabelPlan[] {
  const labels: LabelPlan[] = [];
  if (apparmorProfile) {
    const specPointer = '/process/apparmorProfile';
    if (!apparmorEnabled())
      throw new ContainerError('apparmor: config provided but apparmor not supported', {
        specPointer,
        hint: 'AppArmor is not enabled in this kernel: see /sys/kernel/security/lsm',
      });
    // the plain file may be another module's, where several are stacked
    const own = existsSync('/proc/self/attr/apparmor/exec');
    labels.push({ file: own ? 'attr/apparmor/exec' : 'attr/exec', value: `exec ${apparmorProfile}`, specPointer });
  }
  if (selinuxLabel) {
    const specPointer = '/process/selinuxLabel';
    checkSelinux('selinux label', specPointer);
    labels.push({ file: 'attr/exec', value: selinuxLabel, specPointer });
  }
  return labels;
}

/** @throws ContainerError for a mountLabel that no module would understand */
export function checkMountLabel({ mountLabel }: Linux): void {
  if (mountLabel) checkSelinux('selinux mount label', '/linux/mountLabel');
}

function checkSelinux(what: string, specPointer: string): void {
  if (existsSync('/sys/fs/selinux/enforce')) return;
  throw new ContainerError(`${what} is specified in config, but selinux is disabled or not supported`, {
    specPointer,
    hint: 'see /sys/kernel/security/lsm, and whether selinuxfs is mounted on /sys/fs/selinux',
  });
}

function apparmorEnabled(): boolean {
  const file = '/sys/module/apparmor/parameters/enabled';
  return existsSync(file) && readFileSync(file, 'utf8').startsWith('Y');
}
