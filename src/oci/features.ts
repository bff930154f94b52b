/**
 * What this runtime can do, as features.md wants to know it. Everything is taken from the tables that do the work, or asked
 * of the validation: what it refuses as not there yet is not announced. Source: runtime-spec 1.3.0, features.md.
 */
import { capabilityNames } from '../core/plan/capabilities.ts';
import { mountOptionNames } from '../core/plan/mounts.ts';
import { knownArchitectures, libseccompVersion } from '../seccomp/compile.ts';
import { seccompActions, seccompFlags, seccompOperators } from '../seccomp/rules.ts';
import type { Spec } from '../spec/types.ts';
import { hookNames, namespaceTypes, validateSpec } from '../spec/validate.ts';
import { crossFaults } from './cross-checks.ts';
import { defaultSpec } from './default-spec.ts';
import { specVersion, version } from './globals.ts';

/** The JSON that `features` prints. */
export function features(): Record<string, unknown> {
  const mappings = [{ containerID: 0, hostID: 1000, size: 1 }];
  const bind = { destination: '/x', type: 'bind', source: '/x' };
  const mapped = { ...bind, options: ['bind', 'idmap'], uidMappings: mappings, gidMappings: mappings };
  const linux = (more: object) => ({ linux: { ...defaultSpec.linux, ...more } });
  return {
    ociVersionMin: '1.0.0',
    ociVersionMax: specVersion,
    hooks: hookNames,
    mountOptions: mountOptionNames(),
    linux: {
      namespaces: namespaceTypes.filter((type) => hasNamespace(type)).sort(),
      capabilities: capabilityNames,
      cgroup: { v1: false, v2: true, systemd: false, systemdUser: false, rdma: isThere(linux({ resources: rdma })) },
      seccomp: seccomp(),
      apparmor: { enabled: isThere({ process: { ...defaultSpec.process, apparmorProfile: 'x' } }) },
      selinux: { enabled: isThere({ process: { ...defaultSpec.process, selinuxLabel: 'x' } }) },
      intelRdt: { enabled: isThere(linux({ intelRdt: { closID: 'x' } })) },
      mountExtensions: { idmap: { enabled: isThere({ mounts: [mapped] }) } },
      netDevices: { enabled: isThere(linux({ netDevices: { eth0: { name: 'x' } } })) },
    },
    annotations: {
      'io.github.seccomp.libseccomp.version': libseccompVersion() ?? '',
      'org.tinyctr.version': version,
    },
  };
}

const rdma = { rdma: { mlx5_1: { hcaHandles: 1 } } };

/** Whether a config.json with this is refused as not there yet; what else may be wrong with it is no matter. */
function isThere(more: object): boolean {
  const spec = { ...structuredClone(defaultSpec), ...more } as Spec;
  const { faults, unknown } = validateSpec(spec);
  return (
    unknown.length === 0 && [...faults, ...crossFaults(spec)].every(({ problem }) => !/not there yet/.test(problem))
  );
}

function hasNamespace(type: string): boolean {
  const others = defaultSpec.linux!.namespaces!.filter((one) => one.type !== type);
  return isThere({ linux: { ...defaultSpec.linux, namespaces: [...others, { type }] } });
}

function seccomp(): object {
  if (libseccompVersion() === undefined) return { enabled: false };
  const flags = Object.keys(seccompFlags);
  return {
    enabled: true,
    actions: Object.keys(seccompActions),
    operators: Object.keys(seccompOperators),
    archs: knownArchitectures(),
    knownFlags: flags,
    supportedFlags: flags,
  };
}
