/**
 * What a test needs of the machine it runs on. A test that can't run is skipped with its reason, which `npm test` lists at
 * the end; with TINYCTR_MUST_WORK=1 whatever could be installed or arranged has to be there, and its lack is a failure.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';

/** Source: linux/capability.h. */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21, CAP_SYS_RESOURCE: 24, CAP_MKNOD: 27 };

/** Everything a test asks for must be there; lists are met when each of their elements is. */
export interface Needs {
  /** Effective user id 0. Failing this is a failure with TINYCTR_MUST_WORK=1. */
  root?: true;
  /** Programs on the PATH. Failing this is a failure with TINYCTR_MUST_WORK=1. */
  command?: string | string[];
  /** Controllers of the cgroup v2 hierarchy at /sys/fs/cgroup: the machine has them or not, so always a skip. */
  controller?: string | string[];
  /** Of this process's effective set: the machine gives them or not, so always a skip. */
  capability?: keyof typeof CAPABILITIES;
  /** Files that are not part of the project: always a skip. */
  file?: string | string[];
}

/**
 * The reason why a test with these needs can't run here, or undefined. Throws with that reason when TINYCTR_MUST_WORK=1
 * and the machine could have met the need. In a test: `const reason = need({...}); ctx.skip(reason !== undefined, reason)`.
 */
export function need(needs: Needs): string | undefined {
  const arrangeable =
    needs.root && process.geteuid?.() !== 0 ? 'root is needed' : missing(needs.command, hasCommand, 'not installed');
  if (arrangeable !== undefined && process.env.TINYCTR_MUST_WORK === '1') {
    throw new Error(`${arrangeable}, and TINYCTR_MUST_WORK=1 says that it must be here`);
  }
  return (
    arrangeable ??
    missing(needs.controller, hasController, 'not a controller of the cgroup v2 hierarchy here') ??
    missing(needs.capability, hasCapability, 'a capability that root lacks here') ??
    missing(needs.file, existsSync, 'not a file here')
  );
}

/** The same as options: `describe('runc', needs({ root: true, command: 'runc' }), () => {...})`; also for `test`. */
export function needs(what: Needs): { skip: boolean; meta: object } {
  const skipReason = need(what);
  return skipReason === undefined ? { skip: false, meta: {} } : { skip: true, meta: { skipReason } };
}

function missing<T>(wanted: T | T[] | undefined, present: (item: T) => boolean, text: string): string | undefined {
  const items = wanted === undefined ? [] : Array.isArray(wanted) ? wanted : [wanted];
  const absent = items.filter((item) => !present(item));
  return absent.length === 0 ? undefined : absent.map((item) => `${item} is ${text}`).join(', ');
}

function hasCommand(name: string): boolean {
  return (process.env.PATH ?? '').split(':').some((dir) => {
    try {
      accessSync(`${dir}/${name}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function hasController(name: string): boolean {
  const file = '/sys/fs/cgroup/cgroup.controllers';
  return existsSync(file) && readFileSync(file, 'utf8').trim().split(' ').includes(name);
}

function hasCapability(name: keyof typeof CAPABILITIES): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> BigInt(CAPABILITIES[name])) & 1n) === 1n;
}
