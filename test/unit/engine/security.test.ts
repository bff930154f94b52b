import { describe, expect, it } from 'vitest';
import type { RunOptions } from '../../../src/engine/options.ts';
import { fakeHost, problemOf, specOf } from './support.ts';

const profile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] };
const host = fakeHost({
  files: {
    '/work/here/p.json': JSON.stringify(profile),
    '/bad.json': '{',
    '/list.json': '[]',
    '/null.json': 'null',
    '/sys/devices/system/cpu/possible': '0-1,4\n',
    '/sys/devices/system/cpu/cpu0/thermal_throttle': '',
    '/sys/devices/system/cpu/cpu4/thermal_throttle': '',
  },
  devices: { '/dev': [] },
});
const result = (options: Partial<RunOptions> = {}) => specOf(options, { host });
const option = (...securityOpt: string[]) => result({ securityOpt });

describe('--security-opt', () => {
  it.each([
    [[], false],
    [['no-new-privileges'], true],
    [['no-new-privileges:true'], true],
    [['no-new-privileges=true'], true],
    [['no-new-privileges:false'], false],
    [['no-new-privileges', 'no-new-privileges=false'], false],
  ])('%j sets noNewPrivileges to %s', (options, expected) => {
    expect(option(...options).spec.process?.noNewPrivileges).toBe(expected);
  });

  it('chooses the seccomp profile', () => {
    expect(option().seccomp).toBe('default');
    expect(option('seccomp=builtin').seccomp).toBe('default');
    expect(option('seccomp=unconfined').seccomp).toBe('unconfined');
    expect(option('seccomp=p.json').seccomp).toEqual({ path: '/work/here/p.json', profile });
    expect(option().spec.linux).not.toHaveProperty('seccomp');
  });

  it.each([
    ['', 'is not one of'],
    ['no-new-privs', 'is not one of no-new-privileges'],
    ['no-new-privilege', 'did you mean no-new-privileges'],
    ['no-new-privileges:yes', "'yes' is neither true nor false"],
    ['no-new-privileges=', "'' is neither true nor false"],
    ['seccomp', 'has no value'],
    ['seccomp=', 'has no value'],
    ['seccomp=/gone.json', "can't be read: ENOENT"],
    ['seccomp=/bad.json', 'is not JSON'],
    ['seccomp=/list.json', 'has no defaultAction'],
    ['seccomp=/null.json', 'has no defaultAction'],
    ['systempaths=all', 'can only be unconfined'],
    ['apparmor=unconfined', 'is not there yet'],
    ['label=disable', 'is not there yet'],
  ])("refuses '%s'", (text, reason) => {
    expect(problemOf(() => option(text))).toContain(reason);
  });
});

describe('system paths', () => {
  it('are hidden or read-only, with the thermal counters of the processors that have them', () => {
    const linux = result().spec.linux!;
    expect(linux.maskedPaths).toEqual([
      '/proc/acpi',
      '/proc/asound',
      '/proc/interrupts',
      '/proc/kcore',
      '/proc/keys',
      '/proc/latency_stats',
      '/proc/sched_debug',
      '/proc/scsi',
      '/proc/timer_list',
      '/proc/timer_stats',
      '/sys/devices/virtual/powercap',
      '/sys/firmware',
      '/sys/devices/system/cpu/cpu0/thermal_throttle',
      '/sys/devices/system/cpu/cpu4/thermal_throttle',
    ]);
    expect(linux.readonlyPaths).toEqual(['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']);
  });

  it.each([{ privileged: true }, { securityOpt: ['systempaths=unconfined'] }])('are open with %j', (options) => {
    expect(result(options).spec.linux).not.toHaveProperty('maskedPaths');
    expect(result(options).spec.linux).not.toHaveProperty('readonlyPaths');
  });
});

describe('--privileged', () => {
  it('has no seccomp filter but one that is asked for', () => {
    expect(result({ privileged: true }).seccomp).toBe('unconfined');
    expect(result({ privileged: true, securityOpt: ['seccomp=p.json'] }).seccomp).toHaveProperty('profile');
  });
});
