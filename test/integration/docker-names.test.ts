/** What tinyctr prints as JSON held against a real Docker: every field has docker's name, its place and its type. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DOCKER_NEEDS, Docker } from '../support/dockerd.ts';
import { needs } from '../support/need.ts';
import { Engine } from '../support/tinyctr.ts';

const options = [
  ...['--name', 'one', '-l', 'a=b', '-e', 'A=1', '-v', '/tmp:/x:ro', '--tmpfs', '/t:size=1m', '-u', '1', '-w', '/tmp'],
  ...['--cap-add', 'net_admin', '--cap-drop', 'mknod', '--security-opt', 'seccomp=unconfined', '--group-add', '7'],
  ...['--ulimit', 'nofile=10:20', '--dns', '127.0.0.1', '--add-host', 'a:127.0.0.1', '--init', '--stop-timeout', '3'],
  ...['--stop-signal', 'USR1', '--restart', 'on-failure:3', '--log-opt', 'max-size=1m', '--network', 'none'],
  ...['--entrypoint', 'sleep', '--device-cgroup-rule', 'c 1:3 r', '--pids-limit', '9'],
];

let docker: Docker | undefined;
let engine: Engine;
const { skip, meta } = needs(DOCKER_NEEDS);
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
  if (skip) return;
  docker = await Docker.start(`${engine.folder}/docker`);
  const archive = `${engine.folder}/busybox.tar`;
  await engine.must('save', '-o', archive, 'busybox');
  await docker.must('load', '-i', archive);
  await docker.must('create', ...options, 'busybox', '1000');
  await engine.must('create', ...options, 'busybox', '1000');
}, 120_000);
afterAll(async () => {
  await docker?.stop();
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
}, 60_000);

type Json = null | string | number | boolean | Json[] | { [key: string]: Json };

/** The first line is the first document of a list. */
const first = (text: string): Json => {
  const [line = ''] = text.trim().split('\n');
  return JSON.parse(line.length > 1 ? line : text) as Json;
};

const typeOf = (value: Json): string => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value);

/** Keys that are data, not names: of labels, of options. */
const free = ['Labels', 'Networks', 'Config.LogConfig', 'Tmpfs', 'Data'];

/** What is ours alone, or of another type; docker's null may be anything, and so may ours. */
function differences(ours: Json, theirs: Json, path = ''): string[] {
  if (ours === null || theirs === null) return [];
  if (typeOf(ours) !== typeOf(theirs)) return [`${path} is ${typeOf(ours)}, docker's ${typeOf(theirs)}`];
  if (Array.isArray(ours) && Array.isArray(theirs))
    return ours.length > 0 && theirs.length > 0 ? differences(ours[0]!, theirs[0]!, `${path}[0]`) : [];
  if (typeof ours !== 'object' || free.some((key) => path.endsWith(`.${key}`))) return [];
  const others = theirs as { [key: string]: Json };
  return Object.entries(ours as { [key: string]: Json }).flatMap(([key, value]) =>
    Object.hasOwn(others, key) ? differences(value, others[key]!, `${path}.${key}`) : [`${path}.${key} is ours alone`],
  );
}

test('the comparison sees a field of ours, and another type', () => {
  expect(differences({ a: { b: 1 }, c: [{ d: '' }] }, { a: { b: '1' }, c: [{ e: '' }] })).toEqual([
    ".a.b is number, docker's string",
    '.c[0].d is ours alone',
  ]);
});

describe('as docker names it', { skip, meta }, () => {
  const json = ['--format', 'json'];
  test.each([
    { words: ['ps', '-a', '-s', ...json] },
    { words: ['inspect', 'one'] },
    { words: ['inspect', '-s', ...json, 'one'] },
    { words: ['inspect', '--type', 'container', 'one'] },
    { words: ['images', ...json] },
    { words: ['image', 'ls', ...json] },
    { words: ['inspect', 'busybox'] },
    { words: ['history', ...json, 'busybox'] },
    { words: ['stats', '-a', '--no-stream', ...json] },
    { words: ['system', 'df', ...json] },
    { words: ['version', ...json] },
    { words: ['info', ...json], own: ['.supervisor is ours alone'] },
  ])('$words', async ({ words, own = [] }) => {
    const [ours, theirs] = await Promise.all([engine.must(...words), docker!.must(...words)]);
    expect(Object.keys(first(ours)!).length).toBeGreaterThan(0);
    expect(differences(first(ours), first(theirs))).toEqual(own);
  });

  test('values that both can tell', async () => {
    interface Inspected {
      State: object;
      Config: Record<string, unknown>;
      HostConfig: Record<string, unknown>;
      Mounts: object[];
    }
    const [ours, theirs] = (await Promise.all([engine.must('inspect', 'one'), docker!.must('inspect', 'one')])).map(
      (text) => (JSON.parse(text) as Inspected[])[0]!,
    ) as [Inspected, Inspected];
    expect(ours.State).toEqual(theirs.State);
    const words = ['Cmd', 'Entrypoint', 'User', 'Image', 'WorkingDir', 'Labels', 'Tty', 'OpenStdin', 'StopTimeout'];
    for (const name of words) expect([name, ours.Config[name]]).toEqual([name, theirs.Config[name]]);
    const asked = ['Binds', 'CapAdd', 'CapDrop', 'GroupAdd', 'SecurityOpt', 'RestartPolicy', 'Ulimits', 'Dns', 'Init'];
    const more = ['ExtraHosts', 'NetworkMode', 'PidsLimit', 'Privileged', 'ShmSize', 'Tmpfs', 'DeviceCgroupRules'];
    for (const name of [...asked, ...more])
      expect([name, ours.HostConfig[name]]).toEqual([name, theirs.HostConfig[name]]);
    const { Type, Source, Destination, Mode, RW } = theirs.Mounts[0] as Record<string, unknown>;
    expect(ours.Mounts).toMatchObject([{ Type, Source, Destination, Mode, RW }]);
  });
});
