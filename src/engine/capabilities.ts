/** Which capabilities the container's process has: docker's defaults, --cap-add, --cap-drop, --privileged. Pure. */
import { capabilitiesIn, capabilityNames } from '../core/plan/capabilities.ts';
import type { Capabilities } from '../core/spec/types.ts';
import { didYouMean } from './nearest.ts';
import type { HostReaders, RunOptions } from './options.ts';
import { type Problems, UsageError } from './usage-error.ts';

const known: readonly string[] = capabilityNames;

/** What docker leaves to a container's root: enough for package managers and servers, nothing that rules the host. */
const defaultCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

/** `net_admin` and `CAP_NET_ADMIN` are CAP_NET_ADMIN, `all` is ALL. @throws UsageError naming what is near */
function capabilityName(option: string, text: string): string {
  const upper = text.toUpperCase();
  if (upper === 'ALL' || upper === 'CAP_ALL') return 'ALL';
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (known.includes(name)) return name;
  const near = didYouMean(name, known);
  throw new UsageError(`${option} '${text}' is no capability: give ALL or a name of capabilities(7), NET_ADMIN${near}`);
}

/** What the host itself may give away; a machine inside a container lacks some (CapBnd of proc_pid_status(5)). */
function availableCapabilities(host: HostReaders): string[] {
  const status = Buffer.from(host.readFile('/proc/self/status')).toString();
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (bounding === undefined) throw new UsageError('the host shows no capability bounding set in /proc/self/status');
  return capabilitiesIn(BigInt(`0x${bounding}`));
}

/**
 * docker's rules: `--cap-add ALL` begins with all that the host has and takes the drops away; `--cap-drop ALL` begins
 * with none; then the adds are added, so that a capability in both lists is there.
 */
function grantedCapabilities(add: readonly string[], drop: readonly string[], host: HostReaders): string[] {
  const available = add.length > 0 ? availableCapabilities(host) : [];
  if (add.includes('ALL')) return available.filter((name) => !drop.includes(name));
  const missing = add.filter((name) => !available.includes(name));
  if (missing.length > 0) throw new UsageError(`--cap-add: this host has no ${missing.join(', ')} to give`);
  const kept = drop.includes('ALL') ? [] : defaultCapabilities.filter((name) => !drop.includes(name));
  return [...new Set([...kept, ...add])];
}

/**
 * The five sets. Inheritable and ambient stay empty: a non-empty inheritable set lets programs with file capabilities
 * gain what nobody gave them (SEC-09).
 */
export function capabilities(options: RunOptions, host: HostReaders, problems: Problems): Capabilities {
  const drop = problems.each(options.capDrop, (text) => capabilityName('--cap-drop', text));
  const add = problems.each(options.capAdd, (text) => capabilityName('--cap-add', text));
  if (add.includes('ALL') && drop.includes('ALL')) {
    problems.add('--cap-add ALL and --cap-drop ALL exclude each other: name the capabilities of one of them');
  }
  if (options.privileged && drop.length > 0) {
    problems.add('--cap-drop and --privileged exclude each other: use --cap-add ALL with --cap-drop instead');
  }
  const wanted = options.privileged ? ['ALL'] : add;
  const granted = problems.attempt(() => grantedCapabilities(wanted, drop, host), []);
  return { bounding: granted, effective: [...granted], permitted: [...granted], inheritable: [], ambient: [] };
}
