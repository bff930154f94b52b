/**
 * The options of `tinyctr run` and the image's few fields, made into the OCI Spec that docker would have written.
 * Pure: what has to be read from the host is read by functions passed in.
 */
import type { IdMaps } from '../core/plan/plan.ts';
import type { ImageConfig } from '../image/config.ts';
import type { Spec } from '../spec/types.ts';
import { callerOf } from './caller.ts';
import { capabilities } from './capabilities.ts';
import { processArgs, workingDirectory } from './command.ts';
import { devices } from './devices.ts';
import { environment } from './environment.ts';
import { checkDns, parseAddHost } from './etc-files.ts';
import { checkGroup, checkHostname, checkName, checkUser, parseLabel, parseSignal } from './identity.ts';
import { onRung } from './isolation.ts';
import { cgroupPath, resources } from './limits.ts';
import { type EtcFiles, mounts } from './mounts.ts';
import { type HostNamespaces, hostNamespaces, namespaces, usernsMode } from './namespaces.ts';
import type { HostReaders, RunOptions } from './options.ts';
import { type SeccompChoice, security, systemPaths } from './security.ts';
import { sysctls } from './sysctl.ts';
import { rlimits } from './ulimits.ts';
import { Problems } from './usage-error.ts';
import type { VolumeMount } from './volume-mount.ts';

export interface ContainerSpecInput {
  options: RunOptions;
  /** The words after the image's name. */
  command: readonly string[];
  image: ImageConfig;
  /** The container's id, whose first twelve characters are the default host name. */
  id: string;
  /** Where the image's root filesystem will be mounted. */
  rootfs: string;
  /** True when the process gets a terminal of its own. */
  terminal: boolean;
  files: EtcFiles;
  /** Where volumes are. */
  volumes: string;
  host: HostReaders;
  /** Of --userns=auto and keep-id. */
  idMaps?: IdMaps | undefined;
}

export interface ContainerSpec {
  /** process.user is root: `user` and `groupAdd` are looked up in the container. linux.seccomp is left to `seccomp`. */
  spec: Spec;
  /** `user[:group]`, each a name or id; '' is root. */
  user: string;
  groupAdd: string[];
  /** The name the container sees, also when its uts namespace is the host's. */
  hostname: string;
  seccomp: SeccompChoice;
  /** An init program is to be process 1. */
  init: boolean;
  /** The number of the signal that ends the container; undefined means SIGTERM. */
  stopSignal: number | undefined;
  labels: Record<string, string>;
  /** Those of the spec's mounts that are volumes, by their destination; absent where none is. */
  volumes?: readonly VolumeMount[];
  /** True where the host's namespace is used; /etc/hosts and resolv.conf depend on it. */
  hostNamespaces: HostNamespaces;
}

function userText(options: RunOptions, image: ImageConfig, caller?: { uid: number; gid: number }): string {
  if (options.user !== undefined) return checkUser('--user', options.user);
  if (caller) return `${caller.uid}:${caller.gid}`;
  return image.User ? checkUser("the image's User", image.User) : '';
}

function stopSignal(options: RunOptions, image: ImageConfig): number | undefined {
  if (options.stopSignal !== undefined) return parseSignal('--stop-signal', options.stopSignal);
  return image.StopSignal ? parseSignal("the image's StopSignal", image.StopSignal) : undefined;
}

function containerHostname(input: ContainerSpecInput, shared: HostNamespaces): string {
  const given = input.options.hostname;
  if (given !== undefined) return checkHostname(given);
  return shared.uts || shared.network ? input.host.hostname : input.id.slice(0, 12);
}

/** Options that only have to be well-formed here: the caller uses them as they are. */
function checkOthers(options: RunOptions, problems: Problems): void {
  if (options.name !== undefined) problems.attempt(() => checkName(options.name!), '');
  if (options.cidfile === '') problems.add('--cidfile is empty: give the path of the file to write');
  problems.each(options.dns, checkDns);
  problems.each(options.addHost, parseAddHost);
}

/** A mount shared with the host, or receiving from it, needs a root that isn't cut off from the host's mounts. */
function rootfsPropagation(spec: Spec): { rootfsPropagation?: 'shared' | 'slave' } {
  const words = spec.mounts?.flatMap((mount) => mount.options ?? []) ?? [];
  if (words.includes('shared') || words.includes('rshared')) return { rootfsPropagation: 'shared' };
  return words.includes('slave') || words.includes('rslave') ? { rootfsPropagation: 'slave' } : {};
}

function containerProcess(
  input: ContainerSpecInput,
  hostname: string,
  problems: Problems,
): NonNullable<Spec['process']> {
  const { options, command, image, host, terminal } = input;
  const limits = rlimits(options, problems);
  return {
    terminal,
    user: { uid: 0, gid: 0 },
    args: problems.attempt(() => processArgs(options, command, image), []),
    env: environment({ options, image, host, hostname, terminal }, problems),
    cwd: problems.attempt(() => workingDirectory(options, image), '/'),
    capabilities: capabilities(options, host, problems),
    ...(limits.length > 0 ? { rlimits: limits } : {}),
    oomScoreAdj: 0,
  };
}

/**
 * The specification of the container that `docker run` with these options would make.
 * Left out, because the caller knows more: HOME, process.user, linux.seccomp, the init program.
 * @throws UsageError with everything that is wrong with the options, not only the first
 */
export function containerSpec(asked: ContainerSpecInput): ContainerSpec {
  const problems = new Problems();
  const input = { ...asked, options: onRung(asked.options, problems) };
  const { options, image, host } = input;
  const shared = hostNamespaces(options, problems);
  const mode = usernsMode(options, problems);
  const hostname = problems.attempt(() => containerHostname(input, shared), '');
  const safety = security(options, host, problems);
  const inside = { options, image, files: input.files, volumes: input.volumes, host, namespaces: shared };
  const mounted = mounts({ ...inside, mapped: mode !== undefined }, problems);
  const spec: Spec = {
    ociVersion: '1.3.0',
    process: { ...containerProcess(input, hostname, problems), noNewPrivileges: safety.noNewPrivileges },
    root: { path: input.rootfs, readonly: options.readOnly === true },
    ...(shared.uts ? {} : { hostname }),
    mounts: mounted.mounts,
  };
  const nodes = devices(options, host, problems);
  spec.linux = {
    namespaces: namespaces(shared, mode !== undefined),
    ...(input.idMaps ? { uidMappings: [...input.idMaps.uid], gidMappings: [...input.idMaps.gid] } : {}),
    devices: nodes.devices,
    resources: { devices: nodes.rules, ...resources(options, host, problems) },
    cgroupsPath: problems.attempt(() => cgroupPath(options.cgroupParent, input.id), ''),
    ...rootfsPropagation(spec),
    sysctl: sysctls(options, shared, host, problems, mode !== undefined),
    ...systemPaths(safety.hideSystemPaths, host),
  };
  checkOthers(options, problems);
  const result: ContainerSpec = {
    spec,
    user: problems.attempt(() => userText(options, image, mode === 'keep-id' ? callerOf(host.env) : undefined), ''),
    groupAdd: problems.each(options.groupAdd, checkGroup),
    hostname,
    seccomp: safety.seccomp,
    init: options.init === true,
    stopSignal: problems.attempt(() => stopSignal(options, image), undefined),
    labels: Object.fromEntries(problems.each(options.label, parseLabel)),
    ...(mounted.volumes.length > 0 ? { volumes: mounted.volumes } : {}),
    hostNamespaces: shared,
  };
  problems.throwIfAny();
  return result;
}
