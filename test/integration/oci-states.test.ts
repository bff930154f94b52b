/**
 * Every operation in every state: what is done, and what is refused with which words and changes nothing. The table is
 * that of docs/oci.md, "What is allowed when". Source: runtime-spec runtime.md, "Operations".
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { checkout, Engine, readIfThere } from '../support/tinyctr.ts';
import { differs, ours, Runtime, runtime } from './oci-support.ts';

const id = `state-${process.pid}`;

/** Operation, state, and what the table says: done, or the words of the refusal. */
function readTable(): [operation: string, state: string, expected: string][] {
  const text = readFileSync(`${checkout}/docs/oci.md`, 'utf8');
  const rows = text
    .slice(text.indexOf('## What is allowed when'))
    .split('\n')
    .filter((line) => line.startsWith('|'));
  const cells = rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
  const [[, ...states], , ...operations] = cells as [string[], string[], ...string[][]];
  return operations.flatMap(([name, ...expected]) =>
    states.map((state, i) => [name!, state, expected[i]!] as [string, string, string]),
  );
}

/**
 * Carries out commands, and adopts what they leave without ever reaping it. PR_SET_CHILD_SUBREAPER is 36. It ends with
 * its standard input.
 */
const holder = `
import ctypes, json, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
for words in json.loads(sys.argv[1]):
    if subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        sys.exit(f"{words} failed")
print("done", flush=True)
sys.stdin.read()
`;

/** What of it runc does not pass, or can't be asked. */
function optionsFor(operation: string, state: string): object {
  if (state === 'creating') return ours(runtime, 'its create is cut short by a change of its state.json');
  if (state === 'at its end' && operation === 'state') return differs(runtime, 'state-at-end');
  if (state === 'at its end') return ours(runtime, 'with runc this state is running, and lasts (state-at-end)');
  return {};
}

/** Changes nothing by itself. */
const harmless = ['update', 'ps', 'events --stats', 'state', 'exec', 'kill', 'kill --all'];

describe(runtime, needs({ root: true, command: 'python3' }), () => {
  let engine: Engine;
  let oci: Runtime;
  let bundle: string;
  let held: ChildProcess | undefined;
  /** The state that the container was brought into and still is in, and what it looked like then. */
  let now: string | undefined;
  let before: object;

  beforeAll(async () => {
    engine = await new Engine().prepare();
    oci = new Runtime(engine, runtime);
    bundle = oci.bundle('while :; do sleep 0.05; done');
    writeFileSync(`${bundle}/resources`, '{}');
  });

  afterAll(async () => {
    await bring('does not exist');
    engine.remove();
  });

  const words = (operation: string): string[] => {
    const [verb, ...options] = operation.split(' ');
    switch (verb) {
      case 'create':
        return ['create', '--bundle', bundle, id];
      case 'update':
        return ['update', '--resources', `${bundle}/resources`, id];
      case 'exec':
        return ['exec', id, 'true'];
      case 'kill':
        return ['kill', ...options, id, 'WINCH'];
      default:
        return [verb!, ...options, id];
    }
  };

  const steps: Record<string, string[]> = {
    'does not exist': [],
    creating: ['create'],
    created: ['create'],
    running: ['create', 'start'],
    paused: ['create', 'start', 'pause'],
    stopped: ['create', 'start', 'end'],
    'stopped, not reaped': ['create', 'start', 'end'],
    'at its end': ['create', 'start', 'exec --detach', 'end'],
  };

  async function bring(state: string): Promise<void> {
    if (now === state) return;
    now = undefined;
    held?.stdin?.end();
    expect(await oci.call('delete', '--force', id)).toMatchObject({ code: 0 });
    const how: Record<string, string[]> = {
      'exec --detach': ['exec', '--detach', id, 'true'],
      end: ['kill', id, 'KILL'],
    };
    const commands = steps[state]!.map((step) => [...oci.command, ...(how[step] ?? words(step))]);
    held = spawn('python3', ['-c', holder, JSON.stringify(commands)], { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise((resolve) => held!.stdout!.once('data', resolve));
    if (state === 'creating') forgetGate();
    if (state === 'stopped') await new Promise((resolve) => held!.once('exit', resolve).stdin!.end());
    if (state !== 'does not exist') await oci.untilStatus(id, /^stopped|at its end/.test(state) ? 'stopped' : state);
    now = state;
    before = await picture();
  }

  /** What create writes down last. */
  function forgetGate(): void {
    const file = `${oci.root}/${id}/state.json`;
    const { last, ...state } = JSON.parse(readFileSync(file, 'utf8'));
    expect(last).toBeDefined();
    writeFileSync(file, JSON.stringify(state));
  }

  /** Everything of it that an operation could change. */
  async function picture(): Promise<object> {
    const { stdout } = await oci.call('state', id);
    const pid = stdout === '' ? 0 : (JSON.parse(stdout) as { pid: number }).pid;
    const cgroup = cgroupRoot() + oci.cgroup(id);
    const file = (name: string) => readIfThere(`${cgroup}/${name}`);
    return {
      state: stdout,
      program: readIfThere(`/proc/${pid}/comm`),
      files: existsSync(`${oci.root}/${id}`) ? readdirSync(`${oci.root}/${id}`) : [],
      cgroup: [file('cgroup.freeze'), file('cgroup.events')],
    };
  }

  const table = readTable();
  test('the table is whole', () => expect(table).toHaveLength(13 * 6));

  const stopped = table.filter(([, state]) => state === 'stopped');
  const more = ['stopped, not reaped', 'at its end'].flatMap((state) =>
    stopped.map(([operation, , expected]) => [operation, state, expected] as const),
  );
  for (const [operation, state, expected] of [...table, ...more])
    test(`${operation}, ${state}: ${expected}`, optionsFor(operation, state), async () => {
      await bring(state);
      const run =
        operation === 'create' && expected === 'done'
          ? await oci.create(bundle, id)
          : await oci.call(...words(operation));
      if (expected === 'done') {
        expect(run).toMatchObject({ code: 0 });
        if (!harmless.includes(operation)) now = undefined;
        return;
      }
      expect('stderr' in run && run.stderr).toContain(expected);
      expect(run.code).toBe(operation === 'exec' ? 255 : 1);
      expect(await picture()).toEqual(before);
    });
});
