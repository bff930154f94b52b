/** The command line beside runc's: what `runc VERB --help` lists is taken, or refused by a sentence. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Runtime } from './oci-support.ts';

const verbs = [
  ...[
    'create',
    'delete',
    'events',
    'exec',
    'features',
    'kill',
    'list',
    'pause',
    'ps',
    'resume',
    'run',
    'spec',
    'start',
  ],
  ...['state', 'update'],
];

/** Options that are there to say no, with what they say. */
const refused: Record<string, RegExp> = {
  '--criu': /--criu is not there yet/,
  '--systemd-cgroup': /--systemd-cgroup is not there yet/,
  'create --no-pivot': /--no-pivot is left out on purpose/,
  'run --no-pivot': /--no-pivot is left out on purpose/,
  'update --cpu-rt-period': /cgroup v2/,
  'update --cpu-rt-runtime': /cgroup v2/,
  'update --l3-cache-schema': /--l3-cache-schema is not there yet/,
  'update --mem-bw-schema': /--mem-bw-schema is not there yet/,
  '--rootless': /--rootless is not there yet/,
};

/** What an option is given here; a name where any text is right. */
const values: Record<string, string> = {
  '--log': '/dev/stderr',
  '--log-format': 'json',
  '--format': 'json',
  '--preserve-fds': '0',
  '--interval': '1s',
  '--user': '0',
  '--additional-gids': '0',
  '--blkio-weight': '100',
  '--env': 'A=b',
  '--memory': '1000000',
  '--memory-reservation': '1000000',
  '--memory-swap': '-1',
  '--cpu-period': '100000',
  '--cpu-quota': '10000',
  '--cpu-share': '512',
  '--pids-limit': '10',
  '--cpuset-cpus': '0',
  '--cpuset-mems': '0',
  '--cpu-rt-period': '1000',
  '--cpu-rt-runtime': '1000',
};

interface Flag {
  /** As it is called, with all its names. */
  names: string[];
  hasValue: boolean;
}

/** "   --bundle value, -b value  path to …", as runc's command line library prints it. */
function flagsOf(help: string): Flag[] {
  const options = help.slice(help.indexOf('OPTIONS:'));
  return [...options.matchAll(/^ {3}(--?[a-z0-9-]+(?: value)?(?:, --?[a-z0-9-]+(?: value)?)*) {2}/gm)].map(
    ([, text]) => ({
      names: [...text!.matchAll(/--?[a-z0-9-]+/g)].map(([name]) => name),
      hasValue: text!.includes(' value'),
    }),
  );
}

describe('each option that runc has', needs({ root: true, command: 'runc' }), () => {
  let oci: Runtime;
  let empty: string;

  beforeAll(async () => {
    oci = await Runtime.prepare('tinyctr-oci');
    mkdirSync(oci.root);
    empty = `${oci.folder}/empty`;
    mkdirSync(empty);
  });
  afterAll(() => oci.end());

  const runcHelp = (...words: string[]) => spawnSync('runc', [...words, '--help'], { encoding: 'utf8' }).stdout;
  /** In an empty folder, of a container that does not exist: nothing can come of it but the complaint about that. */
  function complaint(global: string[], verb: string, ...words: string[]): string {
    const id = ['list', 'features', 'spec'].includes(verb) ? [] : ['nosuch'];
    const command = verb === 'exec' && !words.includes('--process') && !words.includes('-p') ? ['true'] : [];
    const all = [...oci.command.slice(1), ...global, verb, ...words, ...id, ...command];
    const { stdout, stderr } = spawnSync(oci.command[0]!, all, { encoding: 'utf8', cwd: empty });
    return stdout + stderr;
  }
  const givenTo = ({ names }: Flag) => values[names[0]!] ?? 'nothing';
  /** With its first name, `--option value`, and with its last, `--option=value` or `-o value`. */
  function forms(flag: Flag): [first: string[], second: string[]] {
    const [first, last] = [flag.names[0]!, flag.names.at(-1)!];
    if (!flag.hasValue) return [[first], [last]];
    const value = givenTo(flag);
    return [[first, value], last === first ? [`${first}=${value}`] : [last, value]];
  }

  test.each(['', ...verbs])('runc %s', (verb) => {
    const flags = flagsOf(verb === '' ? runcHelp() : runcHelp(verb)).filter(
      ({ names }) => names[0] !== '--help' && names[0] !== '--version',
    );
    if (!['features', 'pause', 'resume', 'start', 'state'].includes(verb)) expect(flags.length).toBeGreaterThan(0);
    const say = (words: string[]) => (verb === '' ? complaint(words, 'state') : complaint([], verb, ...words));
    const no = (flag: Flag) => refused[`${verb} ${flag.names[0]}`.trim()];
    for (const flag of flags.filter(no)) expect(say(forms(flag)[0]), flag.names[0]).toMatch(no(flag)!);
    const taken = flags.filter((flag) => !no(flag));
    // Those that exclude others have a call of their own.
    const alone = taken.filter(({ names }) => ['--process', '--resources'].includes(names[0]!));
    const together = taken.filter((flag) => !alone.includes(flag));
    const calls = [
      ...[0, 1].map((form) => together.flatMap((flag) => forms(flag)[form]!)),
      ...alone.flatMap((flag) => forms(flag)),
    ];
    for (const words of calls) {
      const said = say(words);
      const where = `${verb} ${words.join(' ')}: ${said}`;
      expect(said, where).not.toMatch(/unknown option|not there yet|on purpose/);
      const quiet = ['list', 'features', 'spec'].includes(verb) || words.some((word) => /^(-f|--force)$/.test(word));
      if (!quiet) expect(said, where).toMatch(/no such file|does not exist/);
    }
  });

  test('what is refused is in runc’s list: nothing that runc has not', () => {
    const all = ['', ...verbs].flatMap((verb) =>
      flagsOf(verb === '' ? runcHelp() : runcHelp(verb)).map(({ names }) => `${verb} ${names[0]}`.trim()),
    );
    expect(all).toEqual(expect.arrayContaining(Object.keys(refused)));
  });

  test.each(['checkpoint', 'restore'])('%s with its options says that it is not there', (verb) => {
    const words = flagsOf(runcHelp(verb)).flatMap((flag) => forms(flag)[0]);
    expect(words.length).toBeGreaterThan(20);
    expect(complaint([], verb, ...words)).toBe(`tinyctr-oci: ${verb} is not there yet\n`);
  });

  test('help and h, of all and of one verb; --version has the lines that clients read', async () => {
    for (const word of ['help', 'h', '--help', '-h'])
      expect((await oci.call(word)).stdout).toMatch(/^ {2}run .*^ {2}spec /ms);
    for (const words of [
      ['help', 'exec'],
      ['h', 'exec'],
      ['exec', '--help'],
      ['exec', '-h'],
    ])
      expect(await oci.call(...words)).toMatchObject({ code: 0, stdout: expect.stringContaining('--additional-gids') });
    expect((await oci.call('help', 'nosuch')).stdout).toContain('Commands:');
    for (const word of ['--version', '-v'])
      expect((await oci.call(word)).stdout).toMatch(/^tinyctr-oci version \S+\nspec: 1\.\d+\.\d+\n$/);
  });

  test('ps with options of ps(1): its lines of the container’s processes', async () => {
    const bundle = oci.bundle('sleep 1234567 & exec sleep 7654321');
    const id = `shown-${process.pid}`;
    const created = await oci.create(bundle, id);
    expect(created.code, created.output()).toBe(0);
    onTestFinished(async () => void (await oci.call('delete', '--force', id)));
    await oci.call('start', id);
    const words = ['ps', id, '-e', '-o', 'pid,args'];
    let result = await oci.call(...words);
    for (let tries = 0; !/1234567/.test(result.stdout) && tries < 100; tries++) result = await oci.call(...words);
    expect(result.stdout).toMatch(/^ *PID COMMAND\n *\d+ sleep 7654321\n *\d+ sleep 1234567\n$/);
    expect((await oci.call('ps', id, '-o', 'args')).stderr).toContain('no column PID');
    expect((await oci.call('ps', id, '--nosuch')).stderr).toContain('ps --nosuch: ');
  });
});
