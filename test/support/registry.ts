/**
 * A registry as people run it: Debian's docker-registry on a free port of loopback, with a folder of its own; open, with
 * htpasswd, or asking for tokens. Filled by skopeo from an OCI layout that is made here, byte by byte.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { gzipSync } from 'node:zlib';
import { until } from './tinyctr.ts';

export interface RegistryAuth {
  /** One user, as htpasswd (apache2-utils) writes it. */
  user?: { name: string; password: string };
  /** Bearer tokens: distribution's auth.token settings (realm, service, issuer, rootcertbundle). */
  token?: Record<string, string>;
  /** A certificate and its key, PEM files: https. */
  tls?: { certificate: string; key: string };
}

/** What a test needs of the machine: `needs(REGISTRY_NEEDS)`. */
export const REGISTRY_NEEDS = { command: ['docker-registry', 'skopeo', 'htpasswd'] };

export class Registry {
  /** 127.0.0.1:PORT, as the first part of an image's name. */
  readonly host: string;
  readonly folder: string;
  /** One line a request, and what the registry says about itself. */
  readonly log: string[];
  private readonly child: ChildProcess;
  private readonly auth: RegistryAuth;

  private constructor(host: string, folder: string, log: string[], child: ChildProcess, auth: RegistryAuth) {
    this.host = host;
    this.folder = folder;
    this.log = log;
    this.child = child;
    this.auth = auth;
  }

  static async start(auth: RegistryAuth = {}): Promise<Registry> {
    const folder = mkdtempSync(`${tmpdir()}/tinyctr-registry-`);
    writeFileSync(`${folder}/config.json`, JSON.stringify(configuration(folder, auth))); // JSON is YAML, too
    const child = spawn('docker-registry', ['serve', `${folder}/config.json`], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, OTEL_TRACES_EXPORTER: 'none' },
    });
    const log: string[] = [];
    let port: string | undefined;
    for (const stream of [child.stdout, child.stderr])
      createInterface(stream).on('line', (line) => {
        log.push(line);
        port ??= /listening on \S+:(\d+)/.exec(line)?.[1];
      });
    const dead = () => child.exitCode !== null || child.signalCode !== null;
    await until('docker-registry listens', () => port !== undefined || dead(), 20_000);
    if (port === undefined) throw new Error(`docker-registry ended: ${log.join('\n')}`);
    return new Registry(`127.0.0.1:${port}`, folder, log, child, auth);
  }

  /** Copies an image into it: `source` as skopeo names it, oci:DIR:TAG or docker-archive:FILE. */
  fill(source: string, name: string, ...options: string[]): void {
    const creds = this.auth.user ? ['--dest-creds', `${this.auth.user.name}:${this.auth.user.password}`] : [];
    const target = `docker://${this.host}/${name}`;
    const words = ['copy', '--quiet', '--dest-tls-verify=false', ...creds, ...options, source, target];
    const { status, stderr } = spawnSync('skopeo', ['--insecure-policy', ...words], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`skopeo ${words.join(' ')}: ${stderr}`);
  }

  /** Ends it and takes its folder away. */
  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      const late = setTimeout(() => this.child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(late);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function configuration(folder: string, { user, token, tls }: RegistryAuth): object {
  mkdirSync(`${folder}/data`);
  const auth: Record<string, unknown> = {};
  if (user) {
    writeFileSync(`${folder}/htpasswd`, bcryptLine(user));
    auth.htpasswd = { realm: 'test', path: `${folder}/htpasswd` };
  }
  if (token) auth.token = token;
  return {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: `${folder}/data` }, delete: { enabled: true } },
    http: {
      addr: '127.0.0.1:0',
      secret: 'tests',
      ...(tls ? { tls: { certificate: tls.certificate, key: tls.key } } : {}),
    },
    ...(user || token ? { auth } : {}),
  };
}

function bcryptLine({ name, password }: { name: string; password: string }): string {
  const { status, stdout, stderr } = spawnSync('htpasswd', ['-inB', name], { input: password, encoding: 'utf8' });
  if (status !== 0) throw new Error(`htpasswd: ${stderr}`);
  return `${stdout.trim()}\n`;
}

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** An OCI layout with one image, tagged `tag`: `layers` are tar archives without compression; skopeo's oci:DIR:TAG. */
export function writeLayout(folder: string, layers: readonly Buffer[], tag = 'latest', config: object = {}): void {
  mkdirSync(`${folder}/blobs/sha256`, { recursive: true });
  const put = (mediaType: string, bytes: Buffer) => {
    const digest = sha256(bytes);
    writeFileSync(`${folder}/blobs/sha256/${digest.slice(7)}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const configuration = put(
    'application/vnd.oci.image.config.v1+json',
    Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        config,
        rootfs: { type: 'layers', diff_ids: layers.map(sha256) },
      }),
    ),
  );
  const manifest = put(
    'application/vnd.oci.image.manifest.v1+json',
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: configuration,
        layers: layers.map((layer) => put('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(layer))),
      }),
    ),
  );
  const annotations = { 'org.opencontainers.image.ref.name': tag };
  writeFileSync(`${folder}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    `${folder}/index.json`,
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
}
