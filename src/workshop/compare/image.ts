/** The bundle that `tinyctr run IMAGE command` would be, in OCI's words alone: ids in place of names, the filter written out. Host side. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { resolveUser } from '../../core/init/user.ts';
import { hostnameFile, hostsFile, resolvConf } from '../../engine/etc-files.ts';
import { hostReaders } from '../../engine/host.ts';
import type { RunOptions } from '../../engine/options.ts';
import { defaultSeccompProfile } from '../../engine/seccomp-profile.ts';
import { containerSpec } from '../../engine/spec.ts';
import { type Image, layersFolder } from '../../image/store.ts';
import type { Process, Spec } from '../../spec/types.ts';
import { overlayTree } from '../files.ts';
import type { Source } from './bundle.ts';

const noOptions: RunOptions = {
  ...{ env: [], envFile: [], volume: [], mount: [], tmpfs: [], groupAdd: [], ulimit: [], device: [], capAdd: [] },
  ...{ capDrop: [], securityOpt: [], sysctl: [], dns: [], addHost: [], label: [], hostname: 'compare' },
};

/** `scratch`: where the container's /etc/hosts and its like are written. */
export function imageSource(root: string, image: Image, command: readonly string[], scratch: string): Source {
  const folder = `${scratch}/etc`;
  const id = `1-${basename(scratch)}`; // its cgroup’s name
  mkdirSync(folder);
  const files = { hosts: `${folder}/hosts`, hostname: `${folder}/hostname`, resolvConf: `${folder}/resolv.conf` };
  const { Volumes: _, ...config } = image.config; // they would be new and empty in both
  const { spec, user, hostname } = containerSpec({
    ...{
      options: noOptions,
      command,
      image: config,
      id,
      rootfs: 'rootfs',
      terminal: false,
      files,
      volumes: '',
      host: hostReaders,
    },
  });
  writeFileSync(files.hosts, hostsFile([], undefined), { mode: 0o644 });
  writeFileSync(files.hostname, hostnameFile(hostname), { mode: 0o644 });
  const hostFile = hostReaders.exists('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : '';
  writeFileSync(files.resolvConf, resolvConf({ hostFile, dns: [], hostNetwork: false }), { mode: 0o644 });
  const layers = image.layers.map((layer) => `${layersFolder(root)}/${layer}`);
  complete(spec, user, layers);
  return { spec, layers, bundle: folder };
}

/** What `run` looks up in the container, and the filter. docker's rules: a user other than root has the bounding set alone. */
function complete(spec: Spec, user: string, layers: readonly string[]): void {
  const process = spec.process as Process;
  const tree = overlayTree(layers);
  const entries = (path: string, fields: number) =>
    String(tree(path)?.content ?? '')
      .split('\n')
      .map((line) => line.split(':'))
      .filter((entry) => entry.length >= fields);
  const { uid, gid, additionalGids, home } = resolveUser(user, [], entries('/etc/passwd', 7), entries('/etc/group', 4));
  process.user = { uid, gid, additionalGids: [...additionalGids] };
  if (!process.env?.some((entry) => entry.startsWith('HOME='))) process.env = [...(process.env ?? []), `HOME=${home}`];
  if (uid !== 0) process.capabilities = { ...process.capabilities, permitted: [], effective: [] };
  spec.linux!.seccomp = defaultSeccompProfile(process.capabilities?.bounding ?? []);
}
