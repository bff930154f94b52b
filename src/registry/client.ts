/**
 * One repository of a registry: what `pull` reads and `push` writes. Mirrors are asked first, for reading only.
 * Host side. Source: OCI distribution-spec 1.1.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { limits } from '../image/limits.ts';
import type { Reference } from '../image/reference.ts';
import { headerOf, parseObject, readWhole } from './document.ts';
import { readBlob, readRange } from './download.ts';
import { originOf } from './endpoint.ts';
import { printable, RegistryError } from './failure.ts';
import { mirrorsOf } from './mirrors.ts';
import { withRetries } from './retry.ts';
import { Session, type SessionOptions, type Wish } from './session.ts';
import { defaultSettings, type RegistrySettings } from './settings.ts';
import type { Answer } from './transport.ts';

export interface RegistryOptions {
  /** Plain http, and certificates that nobody vouches for, are taken. */
  insecure?: boolean;
  /** Ends what is going on, with its reason as the error. */
  signal?: AbortSignal;
  /** What differs from the machine's own: for tests. `warn` is also for who draws progress. */
  settings?: Partial<RegistrySettings>;
}

export interface Manifest {
  /** One of MANIFEST_TYPES, or what else the registry calls it. */
  mediaType: string;
  digest: string;
  bytes: Buffer;
}

export interface Blob {
  /** Not hashed yet. Broken connections are made anew without a trace; an error is final. */
  stream: Readable;
  /** The offset of its first byte: the one asked for, or 0 where the server can't begin there. */
  start: number;
  /** For errors: docker.io, or "10.0.0.1:5000 (mirror of docker.io)". */
  source: string;
}

/** What we can read: of docker and of OCI, for one platform and for several. */
const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const DIGEST = /^sha256:[a-f0-9]{64}$/;

export class Repository {
  private readonly settings: RegistrySettings;
  private readonly signal: AbortSignal | undefined;
  private readonly origin: Session;
  private readonly mirrors: Session[];
  /** Mirrors that could not be reached: not asked again. */
  private readonly lost = new Set<Session>();

  /** Throws ContainerError for a list of mirrors that can't be used. Nothing is asked yet. */
  constructor(reference: Pick<Reference, 'domain' | 'path'>, { insecure = false, signal, settings }: RegistryOptions) {
    this.settings = { ...defaultSettings(), ...settings };
    this.signal = signal;
    const options: SessionOptions = { settings: this.settings, insecure, signal };
    this.origin = new Session(originOf(reference, insecure), options);
    const patience = {
      ...this.settings,
      tries: Math.min(2, this.settings.tries),
      connectMs: Math.min(10_000, this.settings.connectMs),
    };
    this.mirrors = mirrorsOf(reference, this.settings).map(
      (endpoint) => new Session(endpoint, { ...options, settings: patience }),
    );
  }

  /** Verified: against the digest that was asked for, and the one that the registry names. */
  async manifest(tagOrDigest: string): Promise<Manifest> {
    return await this.read(async (session) => {
      const what = `pull ${nameIn(session, tagOrDigest)}`;
      return await session.request(
        {
          method: 'GET',
          url: `${pathOf(session)}/manifests/${tagOrDigest}`,
          headers: { accept: MANIFEST_TYPES.join(', ') },
          scopes: scopesOf(session, 'pull'),
          expect: [200],
          what,
        },
        async (answer) =>
          await readManifest(answer, tagOrDigest, `${session.endpoint.name}: ${nameIn(session, tagOrDigest)}`),
      );
    });
  }

  /** The bytes from `from` on, of `size` in all where that is known. The caller hashes them. */
  async blob(digest: string, size: number | undefined, from: number): Promise<Blob> {
    checkDigest(digest);
    if (from === size) return { stream: Readable.from([]), start: from, source: 'this machine' };
    return await this.read(async (session) => {
      const what = `${digest} from ${session.endpoint.name}`;
      const open = async (offset: number) => {
        const wish: Wish = {
          method: 'GET',
          url: `${pathOf(session)}/blobs/${digest}`,
          headers: offset > 0 ? { range: `bytes=${offset}-` } : {},
          scopes: scopesOf(session, 'pull'),
          expect: [200, 206],
          what: `pull ${nameIn(session, digest)}`,
        };
        return await session.request(wish, (answer) => ({ answer, start: readRange(answer, offset, { what, size }) }));
      };
      const first = await open(from);
      const stream = readBlob(first, { what, size, open }, this.settings, this.signal);
      return { stream, start: first.start, source: session.endpoint.name };
    });
  }

  async hasBlob(digest: string): Promise<boolean> {
    checkDigest(digest);
    return await this.write(
      { method: 'HEAD', url: `blobs/${digest}`, expect: [200, 404], what: digest },
      async (answer) => {
        await answer.body.dump();
        return answer.status === 200;
      },
    );
  }

  /** Asks the registry to take a blob over from another of its repositories. False: it has to be uploaded. */
  async mountBlob(digest: string, fromRepository: string): Promise<boolean> {
    checkDigest(digest);
    const query = `mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(fromRepository)}`;
    const scopes = [...scopesOf(this.origin, 'push'), `repository:${fromRepository}:pull`];
    const upload = await this.write(
      { method: 'POST', url: `blobs/uploads/?${query}`, scopes, expect: [201, 202], what: digest },
      async (answer) => {
        await answer.body.dump();
        return answer.status === 202 ? uploadOf(answer) : undefined;
      },
    );
    if (upload === undefined) return true;
    const cancel = {
      method: 'DELETE',
      url: upload,
      expect: [200, 202, 204, 404, 405],
      what: digest,
      once: true,
    } as const;
    await this.write(cancel, (answer) => answer.body.dump()).catch(() => {}); // it would have expired by itself
    return false;
  }

  /** `open` gives the blob's `size` bytes from the start; called again when an upload broke off. The registry verifies. */
  async pushBlob(digest: string, size: number, open: () => Readable): Promise<void> {
    checkDigest(digest);
    await withRetries(this.settings, this.signal, async () => {
      const begin = { method: 'POST', url: 'blobs/uploads/', expect: [202], what: digest, once: true } as const;
      const upload = await this.write(begin, async (answer) => {
        await answer.body.dump();
        return uploadOf(answer);
      });
      upload.search += `${upload.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`;
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
      const answerMs = this.settings.uploadedMs;
      await this.write(
        { method: 'PUT', url: upload, headers, body: open, answerMs, expect: [201, 204], what: digest, once: true },
        (answer) => answer.body.dump(),
      );
    });
  }

  /** Returns its digest. */
  async pushManifest(tagOrDigest: string, mediaType: string, bytes: Buffer): Promise<string> {
    const digest = digestOf(bytes);
    await this.write(
      {
        method: 'PUT',
        url: `manifests/${tagOrDigest}`,
        headers: { 'content-type': mediaType },
        body: bytes,
        expect: [200, 201],
        what: tagOrDigest,
      },
      async (answer) => {
        await answer.body.dump();
        const stored = headerOf(answer, 'docker-content-digest') ?? digest;
        if (stored !== digest)
          throw new RegistryError(`${this.origin.endpoint.name} stored ${printable(stored)} instead of ${digest}`);
      },
    );
    return digest;
  }

  /** Ends all connections. */
  close(): void {
    for (const session of [this.origin, ...this.mirrors]) session.close();
  }

  private async write<T>(
    wish: Omit<Wish, 'scopes'> & { scopes?: readonly string[] },
    read: (answer: Answer) => Promise<T>,
  ): Promise<T> {
    const url = typeof wish.url === 'string' ? `${pathOf(this.origin)}/${wish.url}` : wish.url;
    const what = `push ${nameIn(this.origin, wish.what)}`;
    return await this.origin.request({ scopes: scopesOf(this.origin, 'push'), ...wish, url, what }, read);
  }

  /** Mirrors in their order, then the registry itself. */
  private async read<T>(ask: (session: Session) => Promise<T>): Promise<T> {
    const failed: string[] = [];
    for (const mirror of this.mirrors.filter((mirror) => !this.lost.has(mirror))) {
      try {
        return await ask(mirror);
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error;
        failed.push(error.message);
        if (error.status === undefined) this.lost.add(mirror);
        if (error.status !== 404) this.settings.warn(`${error.message}; ${this.origin.endpoint.name} is asked instead`);
      }
    }
    try {
      return await ask(this.origin);
    } catch (error) {
      if (error instanceof RegistryError && failed.length > 0) throw error.with(`before: ${failed.join('; ')}`);
      throw error;
    }
  }
}

function pathOf({ endpoint }: Session): string {
  return `/v2/${endpoint.path}`;
}

function scopesOf({ endpoint }: Session, action: 'pull' | 'push'): string[] {
  return [`repository:${endpoint.path}:${action === 'push' ? 'pull,push' : 'pull'}`];
}

function nameIn({ endpoint }: Session, tagOrDigest: string): string {
  return `${endpoint.path}${tagOrDigest.includes(':') ? '@' : ':'}${tagOrDigest}`;
}

function checkDigest(digest: string): void {
  if (!DIGEST.test(digest))
    throw new RegistryError(`${printable(JSON.stringify(digest))} is no digest: only sha256 is known`);
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Where an upload goes on. */
function uploadOf(answer: Answer): URL {
  const location = headerOf(answer, 'location') ?? '';
  if (location !== '' && URL.canParse(location, answer.url.href)) return new URL(location, answer.url);
  throw new RegistryError(`${answer.url.host} does not say where to upload: ${printable(JSON.stringify(location))}`);
}

async function readManifest(answer: Answer, tagOrDigest: string, what: string): Promise<Manifest> {
  const bytes = await readWhole(answer, limits.documentBytes, what);
  const digest = digestOf(bytes);
  const wanted = [tagOrDigest, headerOf(answer, 'docker-content-digest') ?? ''].filter((text) => DIGEST.test(text));
  for (const other of wanted)
    if (other !== digest)
      throw new RegistryError(`${what}: the registry sent something else, with digest ${digest}, not ${other}`);
  return { mediaType: mediaTypeOf(answer, bytes, what), digest, bytes };
}

/** The header's and the document's own word have to agree: one document may not be read in two ways (CVE-2021-41190). */
function mediaTypeOf(answer: Answer, bytes: Buffer, what: string): string {
  const header = (headerOf(answer, 'content-type') ?? '').split(';')[0]!.trim().toLowerCase();
  const { mediaType } = parseObject(bytes) ?? {};
  if (typeof mediaType !== 'string') return header;
  if (MANIFEST_TYPES.includes(header) && header !== mediaType)
    throw new RegistryError(`${what}: it calls itself ${printable(mediaType)}, and the registry calls it ${header}`);
  return mediaType;
}
