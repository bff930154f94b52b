// linux.resources.rdma against a device: soft RoCE over a veth pair, which Debian's cloud kernel does not have and its generic one has.
// Each of the three runtimes; what the limit does is tried by opening the device. Runs in the guest.
import assert from 'node:assert/strict';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { until } from '../suite/oci.mjs';
import { runtimes, start } from '../suite/runtimes.mjs';
import { run } from '../suite/support.mjs';

/** Asks the device for three contexts, as ibv_open_device(3) does; each is an hca_handle. Source: rdma/ib_user_verbs.h, GET_CONTEXT. */
const OPEN = `
import ctypes, os, struct, sys
answer = ctypes.create_string_buffer(8)
fds = []
for i in range(3):
    fds.append(os.open('/dev/infiniband/uverbs0', os.O_RDWR))
    try:
        os.write(fds[i], struct.pack('IHHQ', 0, 4, 2, ctypes.addressof(answer)))
        print('open')
    except OSError as error:
        print(error.strerror)
print(open(sys.argv[1] + '/rdma.current').read())
`;

const IDLE = 'echo ready; while :; do sleep 1; done';

function device() {
  const { rdev } = statSync('/dev/infiniband/uverbs0');
  return { major: rdev >> 8, minor: rdev & 0xff };
}

before(async () => {
  for (const command of [
    '/run/vm/modprobe rdma_rxe',
    'ip link add rdma0 type veth peer name rdma1',
    'ip link set rdma0 up',
    'ip link set rdma1 up',
    'rdma link add rxe0 type rxe netdev rdma0',
  ]) {
    const [program, ...args] = command.split(' ');
    const { code, stderr } = await run(program, args);
    assert.equal(code, 0, `${command}: ${stderr}`);
  }
  await until('the device', () => existsSync('/dev/infiniband/uverbs0'));
});

/** What docs/limits.md says: another version may do better, tinyctr-oci must not do worse. */
const ignoredBy = 'crun 1.8.1';

for (const runtime of runtimes)
  test(`a device’s handles and objects are limited: ${runtime.name}`, { skip: runtime.missing }, async (context) => {
    const { major, minor } = device();
    const resources = {
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major, minor, access: 'rw' },
      ],
      rdma: { rxe0: { hcaHandles: 2, hcaObjects: 50 } },
    };
    const container = start(runtime, { resources, script: IDLE });
    try {
      await until('it runs', () => container.ready);
      const max = container.file('rdma.max');
      context.diagnostic(`${runtime.name} ${runtime.version}: ${max}`);
      if (`${runtime.name} ${runtime.version}` === ignoredBy)
        return assert.equal(max, 'rxe0 hca_handle=max hca_object=max');
      assert.equal(max, 'rxe0 hca_handle=2 hca_object=50');
      const enter = `echo 0 > ${container.cgroup}/cgroup.procs && exec python3 -c "$1" ${container.cgroup}`;
      const { stdout, stderr } = await run('sh', ['-c', enter, 'sh', OPEN]);
      assert.match(stdout, /^open\nopen\nResource temporarily unavailable\nrxe0 hca_handle=2 hca_object=0\b/, stderr);
    } finally {
      await container.kill();
    }
  });

describe('tinyctr-oci', () => {
  const [runtime] = runtimes;

  test('one of the two leaves the other without limit; update changes both', async () => {
    const rdma = { rxe0: { hcaObjects: 50 } };
    const container = start(runtime, { resources: { rdma }, script: IDLE });
    try {
      await until('it runs', () => container.ready);
      assert.equal(container.file('rdma.max'), 'rxe0 hca_handle=max hca_object=50');
      writeFileSync('/tmp/rdma.json', JSON.stringify({ rdma: { rxe0: { hcaHandles: 1, hcaObjects: 60 } } }));
      const updated = await container.call('update', '--resources', '/tmp/rdma.json', container.id);
      assert.equal(updated.code, 0, updated.stderr);
      assert.equal(container.file('rdma.max'), 'rxe0 hca_handle=1 hca_object=60');
    } finally {
      await container.kill();
    }
  });

  test('a device that is not there is an error, and nothing is left', async () => {
    const container = start(runtime, { resources: { rdma: { rxe7: { hcaHandles: 1 } } }, script: 'true' });
    const { code, stderr } = await container.ended;
    assert.notEqual(code, 0);
    assert.match(stderr, /the RDMA limit can't be set: rdma\.max refuses rxe7 hca_handle=1/);
    assert.equal(container.file('rdma.max'), '');
  });
});
