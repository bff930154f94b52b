/** What create, run and exec would do with a bundle, without doing it. Host side; needs no privileges. */
import * as k from '../core/kernel/constants.ts';
import { capabilityNames } from '../core/plan/capabilities.ts';
import { planExec } from '../core/plan/container.ts';
import type { Plan } from '../core/plan/plan.ts';
import { compiledFilter } from '../seccomp/cache.ts';
import { notifies } from '../seccomp/rules.ts';
import { planScheduling } from '../spec/scheduling.ts';
import type { HookName, Spec } from '../spec/types.ts';
import { type ExplainedStep, type ExplainOptions, explainExec, explainPlan } from '../workshop/explain.ts';
import { type Bundle, type BundleRequest, loadBundle } from './config.ts';
import { planLabels } from './labels.ts';
import type { Reporter } from './log.ts';
import { permittedCapabilities, planBundle } from './plan.ts';
import { asInImage } from './tmpfs.ts';

/** To somebody who is not root: what root, who would run it, may. */
const everyCapability = (1n << BigInt(capabilityNames.length)) - 1n;
const permitted = () => (process.geteuid!() === 0 ? permittedCapabilities() : everyCapability);

/** Nothing is written: no compiled filter either. @throws ContainerError, UsageError for what create would refuse as well */
export function explainBundle(request: BundleRequest, report: Reporter, options: ExplainOptions = {}): ExplainedStep[] {
  const { bundle, plan } = planned(request, report);
  const mounts = inImage(plan.mounts, bundle.rootfs);
  return explainPlan({ ...plan, mounts }, { ...options, interlude: interludeOf(bundle.spec, options.created) });
}

/** Where the image can't be looked at, as over a folder that is not there. */
function inImage(mounts: Plan['mounts'], rootfs: string): Plan['mounts'] {
  try {
    return asInImage(mounts, rootfs, false).mounts;
  } catch (error) {
    if (!['EACCES', 'ENOENT', 'ENOTDIR'].includes((error as { code?: string }).code ?? '')) throw error;
    const isCopied = ([key]: readonly [string, unknown]) => key === 'tmpcopyup';
    return mounts.map((mount) =>
      mount.kind === 'filesystem' ? { ...mount, parameters: mount.parameters.filter((one) => !isCopied(one)) } : mount,
    );
  }
}

/** As construct.ts has it: the hooks of `create` run at start, but for those before pivot_root. */
function interludeOf({ hooks, linux }: Spec, created = false): ExplainOptions['interlude'] {
  if (!hooks && !notifies(linux?.seccomp)) return undefined;
  const said = (...names: HookName[]) =>
    names.flatMap((name) =>
      (hooks?.[name] ?? []).map(({ path, args = [] }) => `${name} hook: ${[path, ...args.slice(1)].join(' ')}`),
    );
  return {
    mounted: said('prestart', 'createRuntime', 'createContainer'),
    ready: created ? [] : said('startContainer'),
  };
}

/** One more process of a container of this bundle: its own process with these words as arguments. */
export function explainExecIn(
  request: BundleRequest,
  args: readonly string[],
  report: Reporter,
  note?: ExplainOptions['note'],
): ExplainedStep[] {
  const { bundle, plan } = planned(request, report);
  const { process, linux } = bundle.spec;
  const { terminal, consoleSize, ...own } = process!;
  const filter = linux?.seccomp && compiledFilter(linux.seccomp, undefined);
  const wanted = { ...own, args: [...args] };
  const scheduling = planScheduling(wanted, linux, true);
  const labels = planLabels(wanted);
  const exec = planExec(
    wanted,
    {
      ...(filter ? { seccomp: { program: filter.program, flags: filter.loadFlags } } : {}),
      scheduling,
      ...(labels.length > 0 ? { labels } : {}),
    },
    { permittedCapabilities: plan.namespaces.user ? everyCapability : permitted() },
  );
  return explainExec(exec, plan, namespacesOf(plan), note);
}

function planned(request: BundleRequest, report: Reporter): { bundle: Bundle; plan: Plan } {
  const bundle = loadBundle(request, permitted(), report, false);
  return { bundle, plan: planBundle(bundle, 'explained', undefined, permitted()) };
}

/** Those that a process of it does not share with the host. */
function namespacesOf({ namespaces: { clone, newCgroup, user, join, timeOffsets } }: Plan): number {
  const own = clone | (newCgroup ? k.CLONE_NEWCGROUP : 0) | (user ? k.CLONE_NEWUSER | k.CLONE_NEWNS : 0);
  return join.reduce((all, { flag }) => all | flag, own | (timeOffsets === undefined ? 0 : k.CLONE_NEWTIME));
}
