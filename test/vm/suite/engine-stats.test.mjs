// tinyctr stats where the controllers are: memory and its limit, the disk, the processes; in the columns and in the JSON. Runs in the guest.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from './oci.mjs';
import { tinyctr } from './support.mjs';

const MIB = 1024 * 1024;

async function must(...words) {
  const { code, stdout, stderr } = await tinyctr(...words);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

before(async () => {
  // 20 MiB of a tmpfs are memory that nothing can drop; the container has no limit of its own but that of memory.
  const script = 'dd if=/dev/zero of=/held/file bs=1M count=20; echo held; exec sleep 1000';
  await must('run', '-d', '--name', 'held', '--memory', '64m', '--tmpfs', '/held', 'busybox', 'sh', '-c', script);
  await must('run', '-d', '--name', 'free', 'busybox', 'sleep', '1000');
  let said = {};
  await until('the memory in use', async () => {
    said = await tinyctr('logs', 'held');
    return said.stdout.includes('held');
  }).catch(async (error) => {
    const { stdout } = await tinyctr('ps', '-a');
    throw new Error(`${error.message}: ${JSON.stringify(said)} ${stdout}`);
  });
});
after(async () => {
  await tinyctr('rm', '-f', 'held', 'free');
});

const inBytes = (text) => {
  const [, number, unit] = /^([\d.]+)(B|KiB|MiB|GiB)$/.exec(text);
  return Number(number) * 1024 ** ['B', 'KiB', 'MiB', 'GiB'].indexOf(unit);
};

test('the JSON: memory in use of its limit, percent, disk, processes', async () => {
  const row = JSON.parse(await must('stats', '--no-stream', '--format', 'json', 'held'));
  const [used, limit] = row.MemUsage.split(' / ').map(inBytes);
  assert.equal(limit, 64 * MIB, row.MemUsage);
  assert.ok(used >= 20 * MIB && used < 64 * MIB, row.MemUsage);
  assert.ok(Math.abs(Number.parseFloat(row.MemPerc) - (100 * used) / limit) < 0.1, row.MemPerc);
  assert.match(row.BlockIO, /^[\d.]+[kMG]?B \/ [\d.]+[kMG]?B$/);
  assert.match(row.NetIO, /^0B \/ 0B$/);
  assert.equal(row.PIDs, '1');
});

test('one without limits is counted as well: its limit is the machine’s memory; no word on standard error', async () => {
  const { stdout, stderr } = await tinyctr('stats', '--no-stream', 'free', 'held');
  assert.equal(stderr, '');
  const [head, free, held] = stdout.split('\n');
  assert.match(head, /^CONTAINER ID +NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +NET I\/O +BLOCK I\/O +PIDS$/);
  assert.match(free, / free +[\d.]+% +[\d.]+[KM]?i?B \/ [\d.]+[MG]iB +[\d.]+% +0B \/ 0B +\S+ \/ \S+ +1$/);
  assert.match(held, / held .* \/ 64MiB /);
});
