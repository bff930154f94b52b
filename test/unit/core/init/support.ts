/** The default container's plan, carried out by a recording stage. */
import { initContainer } from '../../../../src/core/init/container.ts';
import { capabilityNames } from '../../../../src/core/plan/capabilities.ts';
import { type PlanInput, planContainer } from '../../../../src/core/plan/container.ts';
import type { Plan } from '../../../../src/core/plan/plan.ts';
import type { HostFd } from '../../../../src/core/stage/stage.ts';
import type { RunOptions } from '../../../../src/engine/options.ts';
import { directory, file, type WorldFile } from '../../../../src/workshop/files.ts';
import type { RecordedCall } from '../../../../src/workshop/world.ts';
import { recordSmall } from '../../../support/small-image.ts';
import { specOf } from '../../engine/support.ts';

export const target = '/var/lib/tinyctr/containers/c/rootfs';
const allOfThem = (1n << BigInt(capabilityNames.length)) - 1n;
/** Two instructions: allow everything. The filter itself is none of these tests' business. */
const program = Buffer.from('2000000000000000' + '060000000000ff7f', 'hex');

const hostFiles: Record<string, WorldFile> = {
  ...Object.fromEntries(['hosts', 'hostname', 'resolv.conf'].map((name) => [`host:/run/c/${name}`, file()])),
  'host:/data': directory,
};

export interface Wanted {
  options?: Partial<RunOptions>;
  input?: Partial<PlanInput>;
  terminal?: boolean;
  change?: (plan: Plan) => Plan;
  files?: Record<string, WorldFile>;
  watch?: boolean | 'alone';
  pipes?: number[];
  initFd?: HostFd;
  mounted?: (calls: readonly RecordedCall[]) => void;
}

export function planOf({ options = {}, input = {}, terminal = false, change = (plan) => plan }: Wanted = {}): Plan {
  const wanted = specOf(options, { terminal });
  const source = {
    ...{ kind: 'overlay' as const, layersFolder: '/var/lib/tinyctr/layers', lower: ['base', 'top'] },
    ...{ upper: '/var/lib/tinyctr/containers/c/upper', work: '/var/lib/tinyctr/containers/c/work', volatile: false },
  };
  const plan = planContainer(
    {
      ...{ id: 'c', spec: wanted.spec, root: { source, target }, createCwd: true, init: wanted.init },
      ...{ user: { kind: 'lookup', user: wanted.user, groupAdd: wanted.groupAdd }, cgroupPath: '/tinyctr/c' },
      ...(wanted.seccomp === 'unconfined' ? {} : { seccomp: { program, flags: 0 } }),
      ...(terminal ? { terminal: { rows: 24, columns: 80 } } : {}),
      ...input,
    },
    { permittedCapabilities: allOfThem },
  );
  return change(plan);
}

/** What initContainer did with it, up to the execve or the error, which is thrown away if `error` is asked for. */
export function record(wanted: Wanted = {}): ReturnType<typeof recordSmall> & { error: unknown } {
  const recording = recordSmall({ watch: wanted.watch ?? true, files: { ...hostFiles, ...wanted.files }, target });
  const plan = planOf(wanted);
  const namespaces = plan.namespaces.join.map((_, i) => (40 + i) as HostFd);
  const init = wanted.initFd === undefined ? {} : { init: wanted.initFd };
  let error: unknown;
  try {
    const descriptors = { namespaces, pipes: wanted.pipes ?? [], ...init };
    initContainer(
      recording.stage,
      plan,
      descriptors,
      () => undefined,
      wanted.mounted && (() => wanted.mounted!(recording.calls)),
    );
  } catch (thrown) {
    error = thrown;
  }
  return { ...recording, error };
}
