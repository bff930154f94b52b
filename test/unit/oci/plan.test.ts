/** The configurations that real clients generated become plans, without privileges and without the machine that they were for. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { capabilityNames } from '../../../src/core/plan/capabilities.ts';
import { defaultSpec } from '../../../src/oci/default-spec.ts';
import { planBundle } from '../../../src/oci/plan.ts';
import type { Spec } from '../../../src/spec/types.ts';
import { needs } from '../../support/need.ts';

const every = (1n << BigInt(capabilityNames.length)) - 1n;
const plan = (spec: Spec) => planBundle({ path: '/bundle', spec, rootfs: '/bundle/rootfs' }, 'id', undefined, every);

test('that of `spec`', () => {
  const { cgroup, process, mounts } = plan(structuredClone(defaultSpec));
  expect(cgroup.path).toBe('/tinyctr-oci/id');
  expect(process.args).toEqual(defaultSpec.process!.args);
  expect(mounts).toHaveLength(defaultSpec.mounts!.length);
});

const folder = '../shared/data/configs';
describe('configurations that clients generated', needs({ file: folder }), () => {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.config.json')) : [];
  test('there are 33 of them', () => expect(names).toHaveLength(33)); // also what shows that they were skipped

  test.each(names)('%s', (name) => {
    const text = readFileSync(`${folder}/${name}`, 'utf8');
    const spec = JSON.parse(text, (_key, value) => (value === null ? undefined : value)) as Spec;
    const made = plan(spec);
    expect(made.process.args).toEqual(spec.process!.args);
    expect(made.mounts.map(({ target }) => target)).toEqual(spec.mounts!.map(({ destination }) => destination));
    expect(made.process.seccomp === undefined).toBe(spec.linux!.seccomp === undefined);
    const { cgroupsPath } = spec.linux!;
    if (cgroupsPath?.startsWith('/')) expect(made.cgroup.path).toBe(cgroupsPath);
    else expect(made.cgroup.path).toBe(`/tinyctr-oci/${cgroupsPath ?? 'id'}`);
  });
});
