/** What containers cost that only wait: memory of all processes that are not their own, once the supervisor has gone. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Engine, runProgram } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

/**
 * In a pid namespace of its own, so that /proc has nobody else's processes: starts as many containers, waits until one process at most is
 * there besides this shell and theirs, and prints their names and PSS in kB. smaps_rollup: proc_pid_smaps(5).
 */
const script = `
tinyctr=$1 number=$2
for i in $(seq $number); do "$tinyctr" run -d busybox sleep 1000 >/dev/null || exit 1; done
here=$(readlink /proc/self/ns/pid)
for i in $(seq 300); do
  runtime=''
  for process in /proc/[0-9]*; do
    [ $process != /proc/$$ ] && [ "$(readlink $process/ns/pid)" = "$here" ] && runtime="$runtime $process"
  done
  case $runtime in ' '*' '*) sleep 0.1 ;; *) break ;; esac
done
for process in $runtime; do
  echo "$(cat $process/comm) $(sed -n 's/^Pss: *\\([0-9]*\\) kB$/\\1/p' $process/smaps_rollup)"
done
"$tinyctr" rm -f $("$tinyctr" ps -q) >/dev/null
`;

/** kB by name of the process, as long as `number` containers only wait. */
async function memoryOf(number: number): Promise<Record<string, number>> {
  const alone = ['-m', '-p', '--fork', '--kill-child', '--mount-proc'];
  const env = { TINYCTR_ROOT: engine.root, TINYCTR_RUN_ROOT: engine.runRoot, TINYCTR_SUPERVISOR_IDLE_MS: '500' };
  const words = [...alone, 'sh', '-c', script, 'sh', engine.command[0]!, `${number}`];
  const { code, stdout, stderr } = await runProgram('unshare', words, { env, timeoutMs: 55_000 });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(' ')).map(([name, kB]) => [name, Number(kB)]));
}

describe('idle containers', needs({ root: true, command: 'unshare' }), () => {
  test('one costs less than 300 kB, in one process', async () => {
    const memory = await memoryOf(1);
    expect(Object.keys(memory)).toEqual(['keeper']);
    expect(memory.keeper).toBeGreaterThan(0);
    expect(memory.keeper).toBeLessThan(300);
  });

  test('ten cost hardly more', async () => {
    const { keeper, ...others } = await memoryOf(10);
    expect(others).toEqual({});
    expect(keeper).toBeLessThan(400);
  });
});
