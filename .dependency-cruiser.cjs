/* Import direction: cli, oci -> engine -> image, seccomp, explain, lifecycle, spec -> core; registry -> core; within core: container -> init, plan, spec, stage, host -> kernel. */
const only = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: '^(src|node_modules)/', pathNot: allowed },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, dependencyTypesNot: ['type-only'] } },
    only('kernel', '^src/core/kernel', '^src/core/kernel', 'kernel imports nothing outside itself'),
    only('spec', '^src/core/spec', '^src/core/(spec|kernel)', 'spec is pure'),
    only('plan', '^src/core/plan', '^src/core/(plan|spec|kernel)', 'plan is pure'),
    only('stage', '^src/core/stage', '^src/core/(stage|kernel)', 'the stage knows calls, not containers'),
    only('host', '^src/core/host', '^src/core/(host|stage|plan|spec|kernel)|/ffi-rs|/@yuuang', 'effects of this side'),
    only(
      'init',
      '^src/core/init',
      '^src/core/(init|plan|stage|spec|kernel)',
      'init reaches the container through the stage only',
    ),
    only('core', '^src/core/container', '^src/core', 'core imports nothing outside itself but ffi-rs'),
    only('image', '^src/image', '^src/(image|core)|node_modules/(tar|fzstd)', 'image -> core'),
    only(
      'registry',
      '^src/registry',
      '^src/(registry|core|image/(reference|limits)\\.ts)|node_modules/undici',
      'registry -> core, references and limits of images',
    ),
    only('push', '^src/push', '^src/(push|pull/progress\\.ts|registry|image|core)', 'push -> registry, image, core'),
    only('pull', '^src/pull', '^src/(pull|registry|image|core)', 'pull -> registry, image, core'),
    only('explain', '^src/explain', '^src/(explain|core)', 'explain -> core'),
    only('validation', '^src/spec', '^src/(spec|core/(spec|plan|kernel))', 'what is wrong with a config.json: pure'),
    only('lifecycle', '^src/lifecycle', '^src/(lifecycle|core)', 'lifecycle -> core'),
    only('seccomp', '^src/seccomp', '^src/(seccomp|core)', 'seccomp -> core'),
    only(
      'engine',
      '^src/engine',
      '^src/(engine|explain|image|lifecycle|seccomp|spec|core)',
      'engine -> explain, image, lifecycle, seccomp, spec, core',
    ),
    {
      name: 'pure',
      comment: 'no I/O in spec, plan, kernel and stage; init reaches the container through the stage only',
      severity: 'error',
      from: { path: '^src/(spec|core/(spec|plan|kernel|stage|init))' },
      to: { path: '^(node:)?(fs|net|child_process|tty|worker_threads|http|https|dgram|process)($|/)' },
    },
    {
      name: 'one-importer-ffi',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/core/host/ffi\\.ts$' },
      to: { path: 'node_modules/(ffi-rs|@yuuang)' },
    },
    {
      name: 'one-importer-pino',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/cli/log\\.ts$' },
      to: { path: 'node_modules/pino' },
    },
    {
      name: 'one-importer-tar',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/image/tar/' },
      to: { path: 'node_modules/tar/' },
    },
    {
      name: 'one-importer-undici',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/registry/transport\\.ts$' },
      to: { path: 'node_modules/undici' },
    },
    {
      name: 'one-importer-fzstd',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/image/zstd\\.ts$' },
      to: { path: 'node_modules/fzstd' },
    },
    {
      name: 'commander-in-cli',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/(cli|oci)/' },
      to: { path: 'node_modules/commander' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
