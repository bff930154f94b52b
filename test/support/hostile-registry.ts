/**
 * A registry that does what a test tells it to: right by itself, wrong where `fault` says so. It remembers every request.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { sha256 } from './registry.ts';

export interface Seen {
  method: string;
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** Answers in its own way and returns true, or leaves it to the registry. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

export class HostileRegistry {
  /** 127.0.0.1:PORT. */
  readonly host: string;
  readonly requests: Seen[] = [];
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, Buffer>();
  fault: Fault = () => false;
  private readonly server: Server;

  private constructor(server: Server) {
    this.server = server;
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.serve(request, response));
  }

  /** With a certificate and its key (PEM) it speaks https. */
  static async start(tls?: { cert: string; key: string }): Promise<HostileRegistry> {
    const server = tls ? createTlsServer({ ...tls, maxHeaderSize: 65536 }) : createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new HostileRegistry(server);
  }

  /** Puts an image there, with layers as they are given: bytes of any kind. Returns its manifest's digest. */
  add(tag: string, layers: readonly Buffer[], config: Buffer = Buffer.from('{}')): string {
    const put = (mediaType: string, bytes: Buffer) => {
      this.blobs.set(sha256(bytes), bytes);
      return { mediaType, digest: sha256(bytes), size: bytes.length };
    };
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST_TYPE,
        config: put('application/vnd.oci.image.config.v1+json', config),
        layers: layers.map((layer) => put('application/vnd.oci.image.layer.v1.tar+gzip', layer)),
      }),
    );
    this.manifests.set(tag, manifest);
    this.manifests.set(sha256(manifest), manifest);
    return sha256(manifest);
  }

  private serve(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request;
    this.requests.push({ method, path: url, authorization: headers.authorization, range: headers.range });
    response.on('error', () => {});
    if (this.fault(request, response)) return;
    const [, kind, name] = /\/(manifests|blobs)\/([^/?]+)$/.exec(url) ?? [];
    if (/^\/v2\/?$/.test(url)) response.end('{}');
    else if (kind === 'manifests') this.manifest(name!, response);
    else if (kind === 'blobs') this.blob(name!, request, response);
    else refuse(response, 404, 'UNSUPPORTED', 'what?');
  }

  private manifest(name: string, response: ServerResponse): void {
    const bytes = this.manifests.get(name);
    if (!bytes) refuse(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    else response.setHeader('docker-content-digest', sha256(bytes)).setHeader('content-type', typeOf(bytes)).end(bytes);
  }

  private blob(name: string, { headers, method }: IncomingMessage, response: ServerResponse): void {
    const bytes = this.blobs.get(name);
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
    if (bytes) {
      if (from > 0) response.setHeader('content-range', `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
      response.setHeader('content-length', bytes.length - from);
      response.writeHead(from > 0 ? 206 : 200).end(method === 'HEAD' ? undefined : bytes.subarray(from));
    } else refuse(response, 404, 'BLOB_UNKNOWN', 'blob unknown');
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** What the document calls itself. */
function typeOf(bytes: Buffer): string {
  try {
    return (JSON.parse(bytes.toString()) as { mediaType?: string }).mediaType ?? MANIFEST_TYPE;
  } catch {
    return MANIFEST_TYPE;
  }
}

/** An error in the specification's form. */
export function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
}

/** Only what `pattern` fits goes wrong, and only the first `times`. */
export function on(
  pattern: RegExp,
  fault: (request: IncomingMessage, response: ServerResponse) => void,
  times = 1e9,
): Fault {
  let left = times;
  return (request, response) => {
    if (!pattern.test(request.url ?? '') || left-- <= 0) return false;
    fault(request, response);
    return true;
  };
}

/** The first `bytes` of `body`, as if all of it came; then the connection breaks. */
export function breakOff(response: ServerResponse, body: Buffer, bytes: number): void {
  response.writeHead(200, { 'content-length': body.length });
  response.write(body.subarray(0, bytes), () => setTimeout(() => response.destroy(), 20));
}

/** A body without an end. */
export function endless(response: ServerResponse): void {
  const block = Buffer.alloc(65536, ' ');
  const more = () => {
    while (!response.destroyed && response.write(block));
  };
  response.on('drain', more);
  more();
}
