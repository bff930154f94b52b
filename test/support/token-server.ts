/**
 * A token server as distribution's specification describes it, and the check of its tokens in front of a registry: opaque
 * tokens, each for the scopes that were asked for and granted. Users get what `users` says; anonymous ones what `open` says.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Fault, refuse } from './hostile-registry.ts';

interface Issued {
  scopes: Set<string>;
  until: number;
}

export class TokenServer {
  readonly host: string;
  readonly requests: { method: string; parameters: URLSearchParams; authorization: string | undefined }[] = [];
  /** Name to password. */
  readonly users = new Map<string, string>();
  /** Identity tokens, and whose they are. */
  readonly identityTokens = new Map<string, string>();
  /** Repositories that anybody may pull. */
  readonly open = new Set<string>();
  /** Of a new token. */
  expiresIn = 300;
  /** Answers in its own way instead. */
  fault: Fault = () => false;
  private readonly issued = new Map<string, Issued>();
  private readonly server: Server;

  private constructor(server: Server) {
    this.server = server;
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.serve(request, response));
  }

  static async start(): Promise<TokenServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new TokenServer(server);
  }

  /** For a registry: whoever has no token for what the request needs gets a 401 with the challenge. */
  readonly guard: Fault = (request, response) => {
    const [, repository] = /^\/v2\/(.+)\/(manifests|blobs)\//.exec(request.url ?? '') ?? [];
    const action = ['GET', 'HEAD'].includes(request.method ?? '') ? 'pull' : 'push';
    const needed = repository === undefined ? '' : `repository:${repository}:${action}`;
    const token = this.issued.get(request.headers.authorization?.replace(/^Bearer /, '') ?? '');
    if (token && token.until > Date.now() && (needed === '' || token.scopes.has(needed))) return false;
    const scope = needed === '' ? '' : `,scope="${needed}"`;
    const challenge = `Bearer realm="http://${this.host}/token",service="test registry"${scope}`;
    refuse(response.setHeader('www-authenticate', challenge), 401, 'UNAUTHORIZED', 'authentication required');
    return true;
  };

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { authorization } = request.headers;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const form = Buffer.concat(chunks).toString();
    const parameters =
      request.method === 'POST' ? new URLSearchParams(form) : new URL(request.url!, 'http://x').searchParams;
    this.requests.push({ method: request.method!, parameters, authorization });
    if (this.fault(request, response)) return;
    const user = this.userOf(parameters, authorization);
    if (user === undefined) return void refuse(response, 401, 'UNAUTHORIZED', 'incorrect username or password');
    const scopes = parameters
      .getAll('scope')
      .flatMap((scope) => scope.split(' '))
      .flatMap(actionsOf);
    const token = `opaque-${this.issued.size}`;
    const granted = scopes.filter((scope) => user !== '' || this.open.has(scope.replace(/^repository:|:pull$/g, '')));
    this.issued.set(token, { scopes: new Set(granted), until: Date.now() + this.expiresIn * 1000 });
    const identity = parameters.get('offline_token') === 'true' && user !== '' ? this.identityFor(user) : {};
    const name = request.method === 'POST' ? 'access_token' : 'token';
    response.end(JSON.stringify({ [name]: token, expires_in: this.expiresIn, ...identity }));
  }

  /** '' is anonymous; undefined: wrong. */
  private userOf(parameters: URLSearchParams, authorization: string | undefined): string | undefined {
    if (parameters.get('grant_type') === 'refresh_token')
      return this.identityTokens.get(parameters.get('refresh_token') ?? '');
    if (authorization === undefined) return '';
    const [name = '', password] = atob(authorization.replace(/^Basic /, '')).split(/:(.*)/s);
    return this.users.get(name) === password && password !== undefined ? name : undefined;
  }

  /** Whether login gets identity tokens. */
  givesIdentityTokens = false;

  private identityFor(user: string): { refresh_token?: string } {
    if (!this.givesIdentityTokens) return {};
    this.identityTokens.set(`identity-of-${user}`, user);
    return { refresh_token: `identity-of-${user}` };
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** repository:a/b:pull,push is two. */
function actionsOf(scope: string): string[] {
  const colon = scope.lastIndexOf(':');
  return scope
    .slice(colon + 1)
    .split(',')
    .map((action) => `${scope.slice(0, colon)}:${action}`);
}
