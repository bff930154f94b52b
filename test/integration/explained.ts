/**
 * Containers that explain is held against: what explain is asked, and the calls of a real run of the same. The default
 * container, what clients ask for, and configurations of our own for what neither reaches.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import type { Spec } from '../../src/spec/types.ts';
import type { TraceLine } from '../../src/workshop/trace-format.ts';
import { readTrace } from '../../src/workshop/trace-read.ts';
import { checkout, type Engine, readIfThere, scratch, until } from '../support/tinyctr.ts';
import { type Runtime, terminalClient } from './oci-support.ts';

export interface Explained {
  steps: {
    phase: string;
    id: string;
    why: string;
    see: string[];
    calls: { call: string; name?: string; result?: number | null; frame?: number; last?: boolean }[];
  }[];
}

/** Results that are a matter of who asks: a pid, the caller's umask. */
const someResult = ['umask', 'setsid', 'clone3', 'write', 'getpid'];

interface Call {
  step: string;
  text: string;
  name: string;
  result: number | null;
  /** Which frame it goes with. */
  frame: number;
  /** That is the one that ends in execve. */
  last: boolean;
}

/** Ids are the container's own, names of descriptors only explain has. */
function normal({ step, text, name, result, frame, last }: Call, id: string): string {
  const bare = text.replace(/\b(\d+)<[^<>]*>/g, '$1').replaceAll(/\/(explained|traced)"/g, '/ID"');
  const shown = id === '' ? bare : bare.replaceAll(id, 'ID').replaceAll(id.slice(0, 12), 'ID');
  return `${last ? 'last frame' : frame}: ${step}: ${shown} = ${someResult.includes(name) ? '?' : result}`;
}

const idIn = (text: string): string => /\/containers\/([0-9a-f]{64})\//.exec(text)?.[1] ?? '';

/** Of explain's JSON: the calls of the stage, and where hooks are run meanwhile. */
export function explainedCalls(json: string): string[] {
  const { steps } = JSON.parse(json) as Explained;
  return steps.flatMap(({ phase, id: step, calls }) =>
    calls.flatMap(({ call, name, result = null, frame = 0, last = false }) => {
      if (name === undefined) return phase === 'host' ? [] : [step.startsWith('hooks') ? HOOK : `${step}: ${call}`];
      return [normal({ step, text: call.replace(/ = [^=]*$/, ''), name, result, frame, last }, idIn(json))];
    }),
  );
}

const HOOK = 'a hook';

/** While the stage waits, the host makes processes for hooks only. */
function tracedCalls(file: string): string[] {
  const { lines } = readTrace(readFileSync(file, 'utf8'));
  const [first, end] = [lines.findIndex(isStage), lines.findLastIndex(isStage)];
  const last = lines[end]!.frame;
  const id = idIn(lines.map(({ call }) => call).join('\n'));
  return lines.slice(first, end + 1).flatMap((line) => {
    const { step = '', call, name, result, frame = 0 } = line;
    if (isStage(line)) return [normal({ step, text: call, name, result, frame, last: frame === last }, id)];
    return name === 'clone3' ? [HOOK] : [];
  });
}

const isStage = ({ side }: TraceLine): boolean => side === 'stage';

export interface Case {
  /** The words that explain it as JSON. */
  program: 'tinyctr' | 'tinyctr-oci';
  explain: readonly string[];
  /** A real run's calls. Explain first: a run makes mount points. */
  trace: () => Promise<string[]>;
}

type Make = (engine: Engine, oci: Runtime) => Case;

const running =
  (...options: string[]): Make =>
  (engine) => ({
    program: 'tinyctr',
    explain: ['explain', '--format', 'json', 'run', '--rm', ...options, 'busybox', 'true'],
    trace: async () => {
      const file = `${scratch(engine)}/trace`;
      const { code, stderr } = await engine.run('run', '--rm', `--trace=${file}`, ...options, 'busybox', 'true');
      if (code !== 0) throw new Error(`run ${options.join(' ')} ended with ${code}: ${stderr}`);
      return tracedCalls(file);
    },
  });

export const examples = '../shared/data/configs';

type Change = (spec: Spec, folder: string) => void;

/** Starts what a container needs beside it, and ends it. */
type Beside = (bundle: string) => Promise<() => void>;

/** `tinyctr-oci run` of a bundle. */
const bundled =
  (change: Change, beside?: Beside): Make =>
  (engine, oci) => {
    const bundle = bundleFor(engine, oci, change);
    return {
      program: 'tinyctr-oci',
      explain: ['explain', '--format', 'json', '--bundle', bundle],
      trace: async () => {
        const end = await beside?.(bundle);
        const { code, stderr } = await oci.run(bundle, 'traced', `--trace=${bundle}/trace`);
        end?.();
        if (code !== 0) throw new Error(`run ended with ${code}: ${stderr}`);
        return tracedCalls(`${bundle}/trace`);
      },
    };
  };

/** `tinyctr-oci create --preserve-fds 2`. */
const created =
  (change: Change = () => undefined, options: (bundle: string) => string[] = () => [], beside?: Beside): Make =>
  (engine, oci) => {
    const bundle = bundleFor(engine, oci, change);
    return {
      program: 'tinyctr-oci',
      explain: ['explain', '--format', 'json', '--bundle', bundle, '--preserve-fds', '2', 'create'],
      trace: async () => {
        const end = await beside?.(bundle);
        const fd = openSync(`${bundle}/output`, 'w');
        const more = [...options(bundle), `--trace=${bundle}/trace`, 'gated'];
        const words = ['create', '--bundle', bundle, '--preserve-fds', '2', ...more];
        const stdio = ['ignore', fd, fd, fd, fd] as const;
        const child = spawn(oci.command[0]!, [...oci.command.slice(1), ...words], { stdio: [...stdio] });
        const code = await new Promise((resolve) => child.once('exit', resolve));
        closeSync(fd);
        if (code !== 0) throw new Error(`create ended with ${code}: ${readIfThere(`${bundle}/output`)}`);
        await oci.call('delete', '--force', 'gated');
        end?.();
        return tracedCalls(`${bundle}/trace`);
      },
    };
  };

/** A program that makes a socket; killed in the end. */
async function listening(socket: string, words: readonly string[]): Promise<() => void> {
  const child = spawn('python3', words, { stdio: 'ignore' });
  await until(`the socket ${socket}`, () => existsSync(socket), 30_000);
  return () => child.kill('SIGKILL');
}

/** Answers calls by the filter's listener. */
const agent: Beside = (bundle) => {
  const { linux } = JSON.parse(readFileSync(`${bundle}/config.json`, 'utf8')) as Spec;
  const path = linux!.seccomp!.listenerPath!;
  return listening(path, [`${checkout}/test/support/seccomp-agent.py`, path, '0']);
};
const terminal: Beside = (bundle) => listening(`${bundle}/console`, ['-c', terminalClient, `${bundle}/console`]);

/** `tinyctr-oci exec` in a container of a bundle. */
const executed =
  (change: Change): Make =>
  (engine, oci) => {
    const bundle = bundleFor(engine, oci, (spec, folder) => {
      change(spec, folder);
      spec.process!.args = ['sleep', '1000'];
    });
    return {
      program: 'tinyctr-oci',
      explain: ['explain', '--format', 'json', '--bundle', bundle, 'exec', 'true'],
      trace: async () => {
        const { code, output } = await oci.create(bundle, 'entered');
        if (code !== 0) throw new Error(`create ended with ${code}: ${output()}`);
        await oci.call('start', 'entered');
        const result = await oci.call('exec', `--trace=${bundle}/trace`, 'entered', 'true');
        await oci.call('delete', '--force', 'entered');
        if (result.code !== 0) throw new Error(`exec ended with ${result.code}: ${result.stderr}`);
        return tracedCalls(`${bundle}/trace`);
      },
    };
  };

function bundleFor(engine: Engine, oci: Runtime, change: Change): string {
  const bundle = oci.bundle('true', (spec) => {
    const made = mkdtempSync(`${oci.folder}/sources-`);
    change(spec, made);
    Object.assign(spec.linux!, { cgroupsPath: '/tinyctr-explain/traced' });
    const owner = spec.linux!.uidMappings?.[0]?.hostID;
    if (owner === undefined) return;
    spec.root!.path = `${made}/rootfs`; // no links: the container's root has to be their owner
    spawnSync('cp', ['-a', engine.rootfs(), spec.root!.path]);
    spawnSync('chown', ['-hR', `${owner}:${owner}`, spec.root!.path]);
    for (const folder of [engine.folder, oci.folder, made]) chmodSync(folder, 0o711);
  });
  chmodSync(bundle, 0o755);
  return bundle;
}

/** A recorded configuration with what this machine has not replaced: the root, sources of binds, namespaces, limits, hooks. */
const recorded =
  (name: string): Change =>
  (own, made) => {
    const spec = JSON.parse(readFileSync(`${examples}/${name}`, 'utf8')) as Spec;
    delete spec.hooks;
    const { root = own.root!, process, linux = {}, mounts = [] } = spec;
    root.path = 'rootfs';
    Object.assign(process!, { terminal: false, args: ['/bin/true'] });
    linux.namespaces = linux.namespaces!.filter(({ path }) => path === undefined);
    linux.resources = { devices: linux.resources?.devices ?? [] };
    for (const [i, mount] of mounts.entries()) {
      if (!mount.options?.some((option) => option === 'bind' || option === 'rbind')) continue;
      if (mount.source !== undefined && existsSync(mount.source)) continue;
      mount.source = `${made}/${i}`;
      if (/shm$|vol/.test(mount.destination)) mkdirSync(mount.source);
      else writeFileSync(mount.source, '');
    }
    for (const key of Object.keys(own)) delete own[key as keyof Spec];
    Object.assign(own, spec);
  };

const inUser: Change = (spec) => {
  const maps = [{ containerID: 0, hostID: 100000, size: 65536 }];
  spec.linux!.namespaces!.push({ type: 'user' });
  Object.assign(spec.linux!, { uidMappings: maps, gidMappings: maps });
  spec.process!.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }];
  spec.process!.oomScoreAdj = 100;
};

const mounted: Change = (spec, folder) => {
  spec.root!.readonly = true;
  spec.linux!.rootfsPropagation = 'shared';
  spec.mounts!.find(({ destination }) => destination === '/dev')!.options!.push('ro'); // once the devices are in it
  spec.mounts!.push(
    { destination: '/mnt/a', source: folder, options: ['rbind', 'rslave', 'ro'] },
    { destination: '/mnt/b', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'shared', 'mode=1777'] },
    { destination: '/mnt/c', source: '/etc/hostname', options: ['bind'] },
  );
};

const idMapped: Change = (spec, folder) => {
  const maps = [{ containerID: 1000, hostID: 0, size: 1 }];
  spec.mounts!.push({
    destination: '/mnt',
    source: folder,
    options: ['rbind', 'idmap'],
    uidMappings: maps,
    gidMappings: maps,
  });
};

const aProcess: Change = (spec) => {
  const capabilities = ['CAP_KILL', 'CAP_CHOWN'];
  Object.assign(spec.process!, {
    noNewPrivileges: true,
    oomScoreAdj: 100,
    ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 6 },
    scheduler: { policy: 'SCHED_BATCH' },
    execCPUAffinity: { final: '0' },
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }],
    user: { uid: 1000, gid: 1000, additionalGids: [5, 6], umask: 0o27 },
    capabilities: Object.fromEntries(
      ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'].map((set) => [set, capabilities]),
    ),
  });
  spec.domainname = 'example';
  spec.linux!.personality = { domain: 'LINUX' };
  spec.linux!.sysctl = { 'kernel.shm_rmid_forced': '1' };
  spec.linux!.devices = [{ path: '/made/null', type: 'c', major: 1, minor: 3, fileMode: 0o600, uid: 5, gid: 6 }];
};

const filtered: Change = (spec) => {
  spec.linux!.seccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['swapon'], action: 'SCMP_ACT_ERRNO' }],
  };
};

const asked: Change = (spec, folder) => {
  spec.linux!.seccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    listenerPath: `${folder}/agent`,
    syscalls: [{ names: ['swapon'], action: 'SCMP_ACT_NOTIFY' }],
  };
};

const hooked: Change = (spec) => {
  const hook = [{ path: '/bin/true' }];
  spec.hooks = { createRuntime: [...hook, ...hook], createContainer: hook, startContainer: hook };
};

/** Hooks as well: only behind the terminal's calls there is something left to be sent before them. */
const withTerminal: Change = (spec, folder) => {
  hooked(spec, folder);
  Object.assign(spec.process!, { terminal: true, consoleSize: { height: 24, width: 80 } });
};

const remounted: Change = (spec, folder) => {
  spec.mounts!.push(
    { destination: '/mnt/a', source: folder, options: ['rbind'] },
    { destination: '/dev/shm', options: ['remount', 'ro', 'nosuid', 'rslave'] }, // not the mount that was made last
  );
};

const inTime: Change = (spec) => {
  spec.linux!.namespaces!.push({ type: 'time' });
  spec.linux!.timeOffsets = { monotonic: { secs: 100 } };
};

const joining: Change = (spec) => {
  for (const namespace of spec.linux!.namespaces!) if (namespace.type === 'ipc') namespace.path = '/proc/self/ns/ipc';
};

export const cases: Readonly<Record<string, Make>> = {
  'the default container': running(),
  'privileged, with an init': running('--privileged', '--init', '-w', '/made/here'),
  'read-only, as nobody': running(
    ...['--read-only', '-u', 'nobody', '--tmpfs', '/run', '-v', '/etc:/host/etc:ro', '--network', 'host'],
  ),
  'with a terminal': running('-t'),
  'only chroot': running('--isolation', 'chroot'),
  'in a user namespace, by idmapped layers': running('--userns', 'auto'),
  'a bundle in a user namespace': bundled(inUser),
  'a bundle with mounts, propagation and a read-only root': bundled(mounted),
  'a bundle with idmapped mounts': bundled(idMapped),
  'a bundle with all about its process': bundled(aProcess),
  'a bundle with a filter': bundled(filtered),
  'a bundle in a time namespace': bundled(inTime),
  'a bundle that joins a namespace': bundled(joining),
  'a bundle with hooks': bundled(hooked),
  'a bundle with a remount': bundled(remounted),
  'a bundle whose filter asks an agent': bundled(asked, agent),
  'create, with descriptors preserved': created(),
  'create, with hooks': created(hooked),
  'create, with hooks and a terminal of a size': created(
    withTerminal,
    (bundle) => ['--console-socket', `${bundle}/console`],
    terminal,
  ),
  'create, with a filter that asks an agent': created(asked, undefined, agent),
  exec: executed(() => undefined),
  'exec in a user namespace': executed(inUser),
  'exec of a process with all about it': executed(aProcess),
  ...Object.fromEntries(
    (existsSync(examples) ? readdirSync(examples) : [])
      .filter((name) => name.endsWith('.config.json'))
      .map((name) => [name, bundled(recorded(name))]),
  ),
};

/** Explain as a program says it: its JSON. */
export function explain(command: readonly string[], { explain: words }: Case): Promise<string> {
  return new Promise((resolve, reject) => {
    // Sockets, as what a run's output is; standard input as of a run.
    const child = spawn(command[0]!, [...command.slice(1), ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, errors] = ['', ''];
    child.stdout.on('data', (data) => (out += data));
    child.stderr.on('data', (data) => (errors += data));
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve(out) : reject(new Error(errors))));
  });
}
