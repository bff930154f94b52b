/**
 * kill -9 at every step of what changes a container: then `state` and `list` tell what is, what can go on goes on, and
 * `delete --force` leaves nothing. Every step with TINYCTR_SLOW_TESTS (test/slow), else some of each operation.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, renameSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { dyingAt, type Step, stepsOf } from '../support/killed.ts';
import { needs } from '../support/need.ts';
import { Engine, readIfThere, until } from '../support/tinyctr.ts';
import { ours, Runtime, runtime } from './oci-support.ts';

const every = process.env.TINYCTR_SLOW_TESTS !== undefined;
/** How many steps of each operation are tried else. */
const some = 3;

const id = `killed-${process.pid}`;
const program = 'while :; do sleep 0.05; done';
const gone = 'does not exist';

interface Operation {
  /** What stands behind --root. */
  words: string[];
  /** Verbs that bring the container, once created, to where the operation begins; without it there is no container. */
  before?: string[];
  /** What it may be afterwards. */
  after: string[];
  /** The container ends with the operation, if a moment later. */
  dies?: true;
}

/** Folders below that of the runtime: one that runs until it is killed, the same in a user namespace, one that ends at once. */
const [bundle, mapped, short] = ['bundle', 'mapped', 'short'];

const made = [gone, 'creating', 'stopped', 'created'];
const ended = ['running', 'stopped'];
const operations: Record<string, Operation> = {
  create: { words: ['create', '--bundle', bundle, '--pid-file', 'pid', id], after: made },
  'create in a user namespace': { words: ['create', '--bundle', mapped, id], after: made },
  'run --detach': { words: ['run', '--detach', '--bundle', bundle, id], after: [...made, 'running'] },
  run: { words: ['run', '--bundle', short, id], after: [gone, 'stopped'], dies: true },
  start: { words: ['start', id], before: [], after: ['created', 'running'] },
  exec: { words: ['exec', id, 'true'], before: ['start'], after: ['running'] },
  'exec --detach': { words: ['exec', '--detach', id, 'sleep', '9'], before: ['start'], after: ['running'] },
  kill: { words: ['kill', id, 'KILL'], before: ['start'], after: ended },
  'kill --all': { words: ['kill', '--all', id, 'KILL'], before: ['start'], after: ended },
  pause: { words: ['pause', id], before: ['start'], after: ['running', 'paused'] },
  resume: { words: ['resume', id], before: ['start', 'pause'], after: ['running', 'paused'] },
  delete: { words: ['delete', id], before: ['start', 'kill'], after: ['stopped', gone] },
  'delete --force': { words: ['delete', '--force', id], before: ['start'], after: [...ended, gone] },
  'delete --force, created': { words: ['delete', '--force', id], before: [], after: ['created', 'stopped', gone] },
};

describe('kill -9 at each step', needs({ root: true, command: 'strace' }), () => {
  describe(runtime, ours(runtime, 'strace follows the one thread that does its work'), () => {
    let engine: Engine;
    let oci: Runtime;

    beforeAll(async () => {
      engine = await new Engine().prepare();
      oci = new Runtime(engine, runtime);
      renameSync(oci.bundle(program), `${oci.folder}/${bundle}`);
      renameSync(oci.bundle('true'), `${oci.folder}/${short}`);
      const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      const user = oci.bundle(program, ({ linux }) => {
        linux!.namespaces!.push({ type: 'user' });
        Object.assign(linux!, { uidMappings: map, gidMappings: map });
      });
      renameSync(user, `${oci.folder}/${mapped}`);
      await bring([]); // it makes what stays: --root, its .seccomp, the cgroup above
      await oci.call('delete', '--force', id);
    });

    afterEach(() => oci.call('delete', '--force', id));
    afterAll(() => engine.remove());

    test.each(Object.entries(operations))(
      'of %s',
      async (_name, { words, before, after, dies }) => {
        const command = [...oci.command, ...words];
        const initial = left(oci);
        await bring(before);
        const steps = await stepsOf(command, oci.folder, oci.root);
        expect(steps.length).toBeGreaterThanOrEqual(some);
        await remove(initial);
        let killed = 0;
        const stride = every ? 1 : Math.ceil(steps.length / some);
        for (let i = stride >> 1; i < steps.length; i += stride) {
          await bring(before);
          if (await die(steps[i]!, command).catch((error) => fail(steps[i]!, error))) killed++;
          if (dies) await until('it has ended', () => processesIn(oci).length === 0);
          await expectTruth(after).catch((error) => fail(steps[i]!, error));
          await remove(initial).catch((error) => fail(steps[i]!, error));
        }
        expect(killed).toBeGreaterThan(0.7 * (steps.length / stride));
      },
      400_000,
    );

    async function bring(verbs: string[] | undefined): Promise<void> {
      if (verbs === undefined) return;
      const { code, output } = await oci.create(`${oci.folder}/${bundle}`, id);
      expect({ code, output: output() }).toEqual({ code: 0, output: '' });
      for (const verb of verbs) {
        expect(await oci.call(verb, id, ...(verb === 'kill' ? ['KILL'] : []))).toMatchObject({ code: 0, stderr: '' });
        if (verb === 'kill') await oci.untilStatus(id, 'stopped');
      }
    }

    /** With a descriptor of ours that nobody may keep. False if it ended before: how often it waits is a matter of time. */
    async function die({ call, nth }: Step, command: string[]): Promise<boolean> {
      const [first, ...words] = [...dyingAt(call, nth), ...command];
      const output = openSync(`${oci.folder}/output`, 'w');
      const child = spawn(first!, words, { cwd: oci.folder, stdio: ['ignore', output, output, 'pipe'] });
      closeSync(output);
      let held = true;
      child.stdio[3]!.once('close', () => {
        held = false;
      });
      (child.stdio[3] as NodeJS.ReadableStream).resume();
      const end = await new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
      expect(['SIGKILL', 0]).toContain(end);
      expect(readIfThere(`${oci.folder}/output`)).toBe('');
      await until('nobody has a descriptor of the caller’s', () => !held);
      return end === 'SIGKILL';
    }

    async function expectTruth(after: string[]): Promise<void> {
      const { code, stdout, stderr } = await oci.call('state', id);
      const state = code === 0 ? (JSON.parse(stdout) as { status: string; pid: number }) : undefined;
      if (!state) expect(stderr).toBe('tinyctr-oci: container does not exist\n');
      expect(after).toContain(state?.status ?? gone);
      expect((await oci.call('list', '--quiet')).stdout).toBe(state ? `${id}\n` : '');
      await until('no other half-made process is left', () => stages(oci).every((pid) => pid === state?.pid));
      if (!state) return;
      const running = readIfThere(`/proc/${state.pid}/comm`);
      switch (state.status) {
        case 'created':
          expect(running).toBe('memfd:stage\n');
          expect(await oci.call('start', id)).toMatchObject({ code: 0, stderr: '' });
          return;
        case 'creating':
          expect((await oci.call('start', id)).stderr).toMatch(
            /cannot start a container (in the creating state|that has stopped)/,
          );
          return;
        case 'running':
          expect(running).toBe('sh\n');
          expect(await oci.call('exec', id, 'true')).toMatchObject({ code: 0, stderr: '' });
          return;
        case 'paused':
          expect(await oci.call('resume', id)).toMatchObject({ code: 0, stderr: '' });
          return;
        default:
          expect(state.pid).toBe(0);
          expect(await oci.call('delete', id)).toMatchObject({ code: 0, stderr: '' });
      }
    }

    async function remove(initial: object): Promise<void> {
      expect(await oci.call('delete', '--force', id)).toMatchObject({ code: 0, stdout: '', stderr: '' });
      await until('descriptors are as before', () => left(oci).descriptors <= (initial as Left).descriptors);
      expect(left(oci)).toEqual(initial);
    }
  });
});

function fail({ call, nth, text }: Step, error: unknown): never {
  throw new Error(`killed at ${call} number ${nth}, ${text}: ${(error as Error).message}`, { cause: error });
}

/** By their pids on the host. */
function processesIn(oci: Runtime): number[] {
  return readIfThere(`${cgroupRoot()}${oci.cgroup(id)}/cgroup.procs`)
    .split('\n')
    .filter(Boolean)
    .map(Number);
}

function stages(oci: Runtime): number[] {
  return processesIn(oci).filter((pid) => readIfThere(`/proc/${pid}/comm`) === 'memfd:stage\n');
}

interface Left {
  /** Below --root, but for compiled filters. */
  files: string[];
  cgroup: boolean;
  /** Processes that see a mount of the bundle's, in whatever namespace. */
  mounted: string[];
  /** Of this process. */
  descriptors: number;
}

function left(oci: Runtime): Left {
  const files = (readdirSync(oci.root, { recursive: true }) as string[]).filter(
    (name) => !name.startsWith('.seccomp/'),
  );
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  return {
    files,
    cgroup: existsSync(cgroupRoot() + oci.cgroup(id)),
    mounted: pids.filter((pid) => readIfThere(`/proc/${pid}/mountinfo`).includes(oci.folder)),
    descriptors: readdirSync('/proc/self/fd').length,
  };
}
