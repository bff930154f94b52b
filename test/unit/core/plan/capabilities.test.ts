import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  CAP_SYS_ADMIN,
  capabilitiesIn,
  capabilityNames,
  capabilitySet,
} from '../../../../src/core/plan/capabilities.ts';
import { needs } from '../../../support/need.ts';
import { checkFacts, compilers } from '../kernel/c-facts.ts';

for (const compiler of compilers)
  test(`numbers are those of the kernel’s header on ${compiler.arch}`, needs({ command: compiler.command }), () => {
    const facts = [...capabilityNames.entries()].map(([number, name]) => [name, number] as const);
    const last = ['CAP_LAST_CAP', capabilityNames.length - 1] as const;
    expect(checkFacts(compiler, '#include <linux/capability.h>', [...facts, last])).toEqual({ wrong: [], unknown: [] });
  });

test('this kernel has no capability beyond the list', () => {
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
  expect(last).toBeLessThan(capabilityNames.length);
});

describe('sets', () => {
  test('of names and back', () => {
    const names = ['CAP_CHOWN', 'CAP_SYS_ADMIN', 'CAP_CHECKPOINT_RESTORE'];
    expect(capabilitySet(names)).toBe(1n | (1n << BigInt(CAP_SYS_ADMIN)) | (1n << 40n));
    expect(capabilitiesIn(capabilitySet(names.toReversed()))).toEqual(names);
    expect([capabilitySet(), capabilitySet([]), capabilitiesIn(0n)]).toEqual([0n, 0n, []]);
    expect(capabilitySet(['CAP_KILL', 'CAP_KILL'])).toBe(1n << 5n);
  });

  test.each(['cap_chown', 'CHOWN', 'CAP_CHOWN ', '', 'CAP_', 'CAP_NEW', 'constructor'])('%j is unknown', (name) => {
    const specPointer = '/process/capabilities/bounding';
    const message = expect.stringContaining(`unknown capability ${name}; known are CAP_CHOWN, CAP_DAC_OVERRIDE`);
    expect(() => capabilitySet(['CAP_KILL', name], specPointer)).toThrow(
      expect.objectContaining({ message, specPointer }),
    );
  });
});
