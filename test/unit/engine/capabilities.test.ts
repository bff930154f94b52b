import { describe, expect, it } from 'vitest';
import { capabilityNames } from '../../../src/core/plan/capabilities.ts';
import type { RunOptions } from '../../../src/engine/options.ts';
import { fakeHost, problemOf, problemsOf, specOf } from './support.ts';

const dockersFourteen = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

function bounding(options: Partial<RunOptions>, host = fakeHost()): string[] {
  return [...(specOf(options, { host }).spec.process?.capabilities?.bounding ?? [])].sort();
}

describe('capabilities', () => {
  it("are docker's fourteen, with nothing inheritable or ambient", () => {
    const sets = specOf().spec.process!.capabilities!;
    expect([...sets.bounding!].sort()).toEqual(dockersFourteen);
    expect(sets.effective).toEqual(sets.bounding);
    expect(sets.permitted).toEqual(sets.bounding);
    expect(sets.inheritable).toEqual([]);
    expect(sets.ambient).toEqual([]);
  });

  it('are 41, numbered as in capabilities(7)', () => {
    expect(capabilityNames).toHaveLength(41);
    expect(capabilityNames.indexOf('CAP_SYS_ADMIN')).toBe(21);
    expect(capabilityNames.indexOf('CAP_CHECKPOINT_RESTORE')).toBe(40);
  });

  it('are added and dropped by name, with or without CAP_, in any case', () => {
    expect(bounding({ capAdd: ['NET_ADMIN'] })).toContain('CAP_NET_ADMIN');
    expect(bounding({ capAdd: ['cap_net_admin'] })).toHaveLength(15);
    expect(bounding({ capDrop: ['mknod', 'CAP_NET_RAW'] })).toHaveLength(12);
    expect(bounding({ capDrop: ['MKNOD'] })).not.toContain('CAP_MKNOD');
    expect(bounding({ capAdd: ['CHOWN'] })).toEqual(dockersFourteen);
  });

  it("follow docker's rules for ALL", () => {
    expect(bounding({ capDrop: ['ALL'], capAdd: ['NET_RAW'] })).toEqual(['CAP_NET_RAW']);
    expect(bounding({ capDrop: ['all'] })).toEqual([]);
    expect(bounding({ capAdd: ['ALL'], capDrop: ['SYS_ADMIN'] })).toEqual(
      capabilityNames.filter((name) => name !== 'CAP_SYS_ADMIN').sort(),
    );
    expect(bounding({ capAdd: ['KILL'], capDrop: ['KILL'] })).toContain('CAP_KILL');
    expect(problemOf(() => bounding({ capAdd: ['ALL'], capDrop: ['ALL'] }))).toContain('exclude each other');
  });

  it('are all with --privileged, from which nothing can be dropped', () => {
    expect(bounding({ privileged: true })).toHaveLength(41);
    expect(bounding({ privileged: true, capAdd: ['NET_ADMIN'] })).toHaveLength(41);
    expect(problemOf(() => bounding({ privileged: true, capDrop: ['MKNOD'] }))).toContain('--cap-add ALL');
  });

  it('are only those that the host has itself', () => {
    const host = fakeHost({ files: { '/proc/self/status': 'CapBnd:\t00000000a80425fb\n' } });
    expect(bounding({ privileged: true }, host)).toEqual(dockersFourteen);
    expect(bounding({ capAdd: ['ALL'] }, host)).toEqual(dockersFourteen);
    expect(problemOf(() => bounding({ capAdd: ['SYS_ADMIN'] }, host))).toContain('no CAP_SYS_ADMIN to give');
  });

  it('name near misses of unknown ones', () => {
    const problems = problemsOf(() => bounding({ capAdd: ['NETADMIN'], capDrop: ['SYS_ADMN', 'POTATO', ''] }));
    expect(problems).toHaveLength(4);
    expect(problems[0]).toContain("--cap-drop 'SYS_ADMN' is no capability");
    expect(problems[0]).toContain('did you mean CAP_SYS_ADMIN');
    expect(problems[1]).not.toContain('did you mean');
    expect(problems[3]).toContain('did you mean CAP_NET_ADMIN');
  });
});
