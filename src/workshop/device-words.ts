/** The device rules of a container for people: which nodes its eBPF program lets through. */
import type { CgroupPlan } from '../core/plan/plan.ts';

const names: Record<string, string> = {
  '1:3': '/dev/null',
  '1:5': '/dev/zero',
  '1:7': '/dev/full',
  '1:8': '/dev/random',
  '1:9': '/dev/urandom',
  '5:0': '/dev/tty',
  '5:1': '/dev/console',
  '5:2': '/dev/ptmx',
  '136:*': '/dev/pts/*',
};

const kinds: Record<string, string> = { a: '', b: 'block ', c: 'character ' };
const accesses = { read: 'r', write: 'w', mknod: 'm' };

/** One line for each rule, in their order. */
export function deviceRulesInWords({ rules }: Pick<NonNullable<CgroupPlan['devices']>, 'rules'>): string[] {
  return rules.map(({ allow, type = 'a', major = -1, minor = -1, access = '' }) => {
    const numbers = [major, minor].map((number) => (number < 0 ? '*' : number)).join(':');
    const name = type === 'c' ? names[numbers] : undefined;
    const which = numbers === '*:*' ? '' : ` ${numbers}${name ? ` (${name})` : ''}`;
    const what = Object.entries(accesses).filter(([, letter]) => access.includes(letter));
    const verbs = what.map(([verb]) => verb).join(', ');
    return `${allow ? 'allow' : 'deny'} ${verbs}: ${which ? '' : 'any '}${kinds[type]}device${which}`;
  });
}
