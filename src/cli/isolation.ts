/** What a rung of --isolation means, printed before the command: what stands, what is missing, how to see it. */
import { writeSync } from 'node:fs';
import type { Rung } from '../engine/isolation.ts';
import type { Globals } from './globals.ts';

type Row = readonly [word: string, text: string];

const cleaning = 'a cgroup without limits, so that no process outlives it';
const meanings: Record<Rung, { title: string; rows: readonly Row[] }> = {
  chroot: {
    title: 'a folder is called /, and nothing more',
    rows: [
      ['stands', 'chroot(2): the image’s files in place of the host’s, for whoever asks by path'],
      ['also there', `a mount namespace, so that no mount outlives it; ${cleaning}`],
      ['missing', 'namespaces of processes, names, networks, IPC and cgroups; pivot_root; limits, device rules,'],
      ['', 'a seccomp filter, hidden paths; root keeps every capability'],
      ['not a wall', 'root in here is root of this machine: run nothing that you would not run without it'],
      ['try', 'ps                     the processes of the host, and kill ends them'],
      ['', 'ls /proc/$PPID/root/   the root that it is said to have left: tinyctr’s, the host’s'],
      ['', 'hostname; ip addr      the host’s'],
      ['next', '--isolation=namespaces'],
    ],
  },
  namespaces: {
    title: 'its own view of the machine, and root’s whole power',
    rows: [
      ['stands', 'namespaces: mounts, processes, host name, network, IPC, cgroups; pivot_root, the old root unmounted'],
      ['also there', cleaning],
      ['missing', 'limits, device rules, a seccomp filter, hidden paths; root keeps every capability'],
      ['not a wall', 'root in here is root of this machine: it can mount the disk, load modules, write /proc/sys'],
      ['try', 'ps; ls /proc/1/root/; hostname new    its own, all of them'],
      ['', 'mount -t tmpfs none /mnt              is allowed'],
      ['', 'mknod k c 1 11 && head -n 1 k         the log of the host’s kernel'],
      ['next', '--isolation=container'],
    ],
  },
  container: {
    title: 'what run does without --isolation',
    rows: [
      [
        'stands',
        'namespaces and pivot_root; few capabilities, a seccomp filter, device rules, hidden and read-only paths;',
      ],
      ['', 'limits, those that are asked for (--memory, --pids-limit, --cpus …)'],
      ['missing', 'a user namespace (--userns=auto): root in here has the host’s uid 0; the kernel is shared'],
      ['try', 'hostname new; mount -t tmpfs none /mnt; mknod k c 1 11 && head -n 1 k    each is refused'],
      ['', 'grep -E "Cap|Seccomp" /proc/self/status                                 what is left'],
    ],
  },
};

export async function printRung(rung: Rung, globals: Globals): Promise<void> {
  const { title, rows } = meanings[rung];
  if (globals.logFormat === 'json') {
    const { logger } = await import('./log.ts');
    logger(globals).info({ isolation: rung, meaning: rows.map((row) => row.join(' ').trim()) }, title);
    return;
  }
  const lines = rows.map(([word, text]) => `  ${word.padEnd(12)}${text}`);
  writeSync(2, `${[`tinyctr: --isolation=${rung}: ${title}`, ...lines].join('\n')}\n`);
}
