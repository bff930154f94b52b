/** The options that limit a cgroup, as `tinyctr run` and `tinyctr limit` both have them, and how options are written down in tables. */
import { type Command, Option } from 'commander';
import { UsageError } from '../engine/usage-error.ts';

export const list = (value: string, previous: string[] = []): string[] => [...previous, value];

/** Flags, what they do, and for options that may be repeated how their values are gathered. */
export type OptionRow = readonly [flags: string, text: string, gather?: typeof list];

export const limitOptions: readonly OptionRow[] = [
  ['-m, --memory <bytes>', 'memory limit'],
  ['--memory-swap <bytes>', 'memory and swap together; -1: as much swap as there is'],
  ['--memory-reservation <bytes>', 'memory that is left to it while others are asked to give some back'],
  ['--cpus <number>', 'how many CPUs’ time it may use'],
  ['-c, --cpu-shares <number>', 'weight against others, 1024 is the default'],
  ['--cpu-quota <us>', 'microseconds of CPU time in each period; -1: no limit'],
  ['--cpu-period <us>', 'length of a period, 100000 by default'],
  ['--cpuset-cpus <list>', 'the CPUs it may run on: 0-2,7'],
  ['--cpuset-mems <list>', 'the memory nodes it may use'],
  ['--pids-limit <number>', 'how many processes it may have'],
  ['--blkio-weight <10-1000>', 'weight against others at the disks'],
  ['--blkio-weight-device </dev/name:weight>', 'weight at one disk', list],
  ['--device-read-bps </dev/name:bytes>', 'bytes a second read from a disk', list],
  ['--device-write-bps </dev/name:bytes>', 'bytes a second written to a disk', list],
  ['--device-read-iops </dev/name:number>', 'reads a second from a disk', list],
  ['--device-write-iops </dev/name:number>', 'writes a second to a disk', list],
  ['--device-cgroup-rule <rule>', 'allow more devices: "c 10:229 rwm"', list],
  ['--cgroup-parent <path>', 'put its cgroup below this one, in place of /tinyctr'],
];

/** What cgroup v1 had and v2 has not. */
export const refusedLimits: readonly (readonly [flags: string, reason: string])[] = [
  [
    '--memory-swappiness <percent>',
    'is of cgroup v1: in v2 the machine has one swappiness for all (sysctl vm.swappiness); --memory-swap limits swap',
  ],
  ['--kernel-memory <bytes>', 'is of cgroup v1: in v2 the kernel’s memory counts as memory, and --memory limits both'],
  [
    '--oom-kill-disable',
    'is of cgroup v1: in v2 nothing keeps the kernel from killing at the limit (memory.high would only slow down)',
  ],
  ['--cpu-rt-period <us>', 'is of cgroup v1: v2 has no real-time groups'],
  ['--cpu-rt-runtime <us>', 'is of cgroup v1: v2 has no real-time groups'],
];

export const namesOf = ([text]: OptionRow): string[] => text.split(/ [<[]/)[0]!.split(', ');

export function addRow(command: Command, [text, description, gather]: OptionRow): void {
  if (gather) command.option(text, description, gather);
  else command.option(text, description);
}

/** An option that is known, and refused by name with the reason. */
export function refuse(command: Command, text: string, reason: string): void {
  const option = new Option(text).hideHelp();
  command.addOption(option);
  command.on(`option:${option.name()}`, () => {
    throw new UsageError(`--${option.name()} ${reason}`);
  });
}
