import { expect, test, vi } from 'vitest';
import { compiledFilter } from '../../../src/seccomp/cache.ts';
import { compileFilter } from '../../../src/seccomp/compile.ts';

const dlopenSays = 'libseccomp.so.2: cannot open shared object file: No such file or directory';

vi.mock('../../../src/core/host/ffi.ts', () => ({
  callC: () => 0,
  openLibrary: () => {
    throw new Error(dlopenSays);
  },
}));

test('a missing libseccomp is one sentence with the package', () => {
  const profile = { defaultAction: 'SCMP_ACT_ALLOW' };
  for (const attempt of [() => compileFilter(profile), () => compiledFilter(profile, '/nonexistent')])
    expect(attempt).toThrow(
      expect.objectContaining({
        name: 'ContainerError',
        message:
          "libseccomp.so.2 cannot be loaded, and without it there is no seccomp filter: install Debian's package libseccomp2",
        cause: new Error(dlopenSays),
      }),
    );
});
