/** `update` and `events` where no controller is needed but hugetlb, beside runc; test/vm/suite has the others. */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { runProgram } from '../support/tinyctr.ts';
import { differs, jsonPlace, ours, Runtime, runtime, runtimes } from './oci-support.ts';

const sleep = 'while :; do sleep 0.05; done';
const id = `update-${process.pid}`;

describe('update and events', needs({ root: true }), () => {
  let oci: Runtime;
  const cgroup = () => `${cgroupRoot()}${oci.cgroup(id)}`;
  const read = (file: string) => readFileSync(`${cgroup()}/${file}`, 'utf8').trim();
  const start = async (runtime = oci, script = sleep) => {
    await runtime.create(runtime.bundle(script), id);
    expect(await runtime.call('start', id)).toMatchObject({ code: 0 });
  };

  beforeAll(async () => {
    oci = await Runtime.prepare(runtime);
  });
  afterEach(() => oci.call('delete', '--force', id));
  afterAll(() => oci.end());

  test.each([
    [[], 'nothing to change: give --memory'],
    [['--memory', 'much'], "--memory 'much' is not a size"],
    [['--pids-limit', '1.5'], "--pids-limit '1.5' is not a whole number"],
    [['--blkio-weight', '5'], 'update: /blockIO/weight is 5; allowed is a whole number from 10 to 1000'],
    [['--cpuset-cpus', 'all'], 'update: /cpu/cpus is "all"; allowed is a list of numbers'],
    [['--kernel-memory', '5m'], "update: /memory/kernel can't be kept: cgroup v2 has no limit of the kernel's memory"],
    [['--kernel-memory-tcp', '5m'], 'update: /memory/kernelTCP can'],
    [['--cpu-rt-runtime', '5'], "update: /cpu/realtimeRuntime can't be kept: cgroup v2 has no limit of real-time"],
    [['--l3-cache-schema', 'L3:0=f'], '--l3-cache-schema is not there yet'],
    [['--cpu-quota', '1000', '--cpu-burst', '2000'], 'cpu.burst is 2000; it must not be larger than cpu.quota, 1000'],
    [['--memory-swap', '5m'], 'wants a memory.limit that is not larger'],
    [['--resources', '/not/there'], '--resources /not/there: no such file or directory'],
  ])('update %j is refused, and changes nothing', differs(runtime, 'validation-first'), async (words, message) => {
    await start();
    const before = read('cgroup.controllers');
    const { code, stdout, stderr } = await oci.call('update', ...words, id);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(message);
    expect(read('cgroup.controllers')).toBe(before);
  });

  test('update of what is not there, or has stopped', async () => {
    expect((await oci.call('update', '--pids-limit', '5', id)).stderr).toContain('container does not exist');
    await start(oci, 'true');
    await oci.untilStatus(id, 'stopped');
    expect((await oci.call('update', '--pids-limit', '5', id)).stderr).toContain('container not running');
    expect((await oci.call('events', id)).stderr).toContain(`container with id ${id} is not running`);
  });

  const hugetlb = { skip: !readFileSync(`${cgroupRoot()}/cgroup.controllers`, 'utf8').includes('hugetlb') };
  test('update takes linux.resources from a file or from standard input', {
    ...differs(runtime, 'validation-first'),
    ...hugetlb,
  }, async () => {
    await start();
    const text = (limit: number, more = {}) =>
      JSON.stringify({ hugepageLimits: [{ pageSize: '2MB', limit }], memory: { limit: 0 }, pids: null, ...more });
    const file = `${oci.folder}/resources.json`;
    writeFileSync(file, text(2 << 20, { devices: [{ allow: false, access: 'rwm' }] }));
    expect(await oci.call('update', '--resources', file, id)).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect(read('hugetlb.2MB.max')).toBe(String(2 << 20));
    const shell = (json: string) =>
      runProgram('sh', ['-c', 'echo "$0" | "$@"', json, ...oci.command, 'update', '-r', '-', id]);
    expect(await shell(text(4 << 20))).toMatchObject({ code: 0, stderr: '' });
    expect(read('hugetlb.2MB.max')).toBe(String(4 << 20));
    const { code, stderr } = await shell(text(6 << 20, { unified: { 'hugetlb.2MB.rsvd.max': 'much' } }));
    expect(code).toBe(1);
    expect(stderr).toContain(
      "the value of hugetlb.2MB.rsvd.max can't be set: hugetlb.2MB.rsvd.max refuses much (EINVAL)",
    );
    expect([read('hugetlb.2MB.max'), read('hugetlb.2MB.rsvd.max')]).toEqual([String(4 << 20), String(4 << 20)]);
    expect((await shell('{"memory":\n{"limit":"x"}}')).stderr).toContain('standard input: /memory/limit is "x"');
    expect((await shell('{bad')).stderr).toContain(`standard input is not JSON${jsonPlace(', line 1')}`);
    expect((await shell('{"memroy":{}}')).stderr).toContain('/memroy is unknown and ignored; did you mean memory?');
  });

  const fields = (value: unknown, at = ''): string[] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, field]) => [`${at}/${key}`, ...fields(field, `${at}/${key}`)])
      : [];

  test.each(runtimes)('%s: events --stats is one line of JSON', async (name) => {
    const runtime = new Runtime(oci.engine, name);
    await start(runtime);
    const { code, stdout, stderr } = await runtime.call('events', '--stats', id);
    await runtime.call('delete', '--force', id);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.endsWith('}\n') && stdout.split('\n').length === 2).toBe(true);
    const event = JSON.parse(stdout);
    expect(event).toMatchObject({ type: 'stats', id, data: { cpu: { usage: { user: expect.any(Number) } } } });
    expect(fields(event)).toEqual(
      expect.arrayContaining([
        ...['/data/cpu/usage/total', '/data/cpu/usage/kernel', '/data/cpu/throttling', '/data/cpuset/cpu_exclusive'],
        ...['/data/memory/usage/limit', '/data/memory/swap/failcnt', '/data/memory/kernelTCP/limit'],
        ...['/data/pids/current', '/data/blkio', '/data/hugetlb', '/data/intel_rdt', '/data/network_interfaces'],
      ]),
    );
    expect(event.data.pids.current).toBeGreaterThanOrEqual(1);
  });

  test(
    'events follows until the container ends',
    ours(runtime, 'runc 1.1.5 does not end with it here (events-end)'),
    async () => {
      await start();
      const child = spawn(oci.command[0]!, [...oci.command.slice(1), 'events', '--interval=100ms', id]);
      let output = '';
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await new Promise<void>((resolve) => {
        child.stdout.on('data', (text) => {
          output += text;
          if (output.split('\n').length > 3) resolve();
        });
      });
      await oci.call('kill', id, 'KILL');
      expect(await ended).toBe(0);
      for (const line of output.trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ type: 'stats', id });
    },
  );

  test('events ends when nobody reads; an interval has to be one', differs(runtime, 'error-texts'), async () => {
    await start();
    const words = [...oci.command, 'events', '--interval', '50ms', id];
    expect(
      await runProgram('bash', ['-c', 'set -o pipefail; "$@" | head -n 1; echo $?', 'bash', ...words]),
    ).toMatchObject({
      stdout: expect.stringMatching(/^\{.*\}\n0\n$/),
      stderr: '',
    });
    for (const interval of ['5', '0s', '-1s', 'soon'])
      expect((await oci.call('events', `--interval=${interval}`, id)).stderr).toContain('is not a duration');
  });
});
