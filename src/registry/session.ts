/** One endpoint as it is talked to: its scheme found out once, authenticated, with attempts repeated. Host side. */
import { Authenticator } from './auth.ts';
import type { Credentials } from './credentials.ts';
import type { Endpoint } from './endpoint.ts';
import { printable, RegistryError } from './failure.ts';
import { withRetries } from './retry.ts';
import type { RegistrySettings } from './settings.ts';
import { explainStatus } from './status.ts';
import { type Answer, type Exchange, Transport } from './transport.ts';
import { isNoTls } from './unreachable.ts';

export interface Wish extends Omit<Exchange, 'url' | 'authorization' | 'signal'> {
  /** A path below the registry, or what an answer said. */
  url: string | URL;
  /** Of the token, where one is needed: repository:library/alpine:pull. */
  scopes: readonly string[];
  /** HTTP statuses that are no failure. */
  expect: readonly number[];
  /** Ends the sentence "docker.io does not let you …": pull library/alpine:3.19. */
  what: string;
  /** One attempt only: whoever asks repeats more than this request. */
  once?: true;
}

export interface SessionOptions {
  settings: RegistrySettings;
  insecure: boolean;
  signal: AbortSignal | undefined;
  /** Instead of those in files. */
  credentials?: Credentials;
}

export class Session {
  readonly endpoint: Endpoint;
  readonly auth: Authenticator;
  private readonly options: SessionOptions;
  private readonly transport: Transport;
  private base: Promise<URL> | undefined;

  constructor(endpoint: Endpoint, options: SessionOptions) {
    this.endpoint = endpoint;
    this.options = options;
    this.transport = new Transport(options.settings, options.insecure);
    this.auth = new Authenticator(endpoint, { ...options, transport: this.transport });
  }

  /** `read` belongs to the attempt: a body that breaks off is asked for again. Throws RegistryError. */
  async request<T>(wish: Wish, read: (answer: Answer) => Promise<T> | T): Promise<T> {
    const { settings, signal } = this.options;
    const attempt = async () => {
      const answer = await this.authorized(wish);
      if (wish.expect.includes(answer.status)) return await read(answer);
      throw await explainStatus(answer, {
        registry: this.endpoint.name,
        server: this.endpoint.registry,
        what: wish.what,
        ...(await this.auth.who()),
      });
    };
    return wish.once ? await attempt() : await withRetries(settings, signal, attempt);
  }

  private async authorized(wish: Wish): Promise<Answer> {
    const base = await this.findBase();
    const url = this.checked(new URL(wish.url, base), base);
    const own = url.origin === base.origin;
    const send = (authorization: string | undefined) =>
      this.transport.send({ ...wish, url, signal: this.options.signal, authorization });
    const header = own ? await this.auth.header(wish.scopes) : undefined;
    const answer = await send(header);
    if (answer.status !== 401 || answer.url.origin !== base.origin) return answer;
    const renewed = await this.auth.renew(answer, wish.scopes, header);
    if (renewed === undefined) return answer;
    await answer.body.dump();
    return await send(renewed);
  }

  /** Where an upload goes is the registry's choice, but it may not give up encryption. */
  private checked(url: URL, base: URL): URL {
    if (url.protocol === base.protocol || url.protocol === 'https:' || this.options.insecure) return url;
    throw new RegistryError(`${this.endpoint.name} names ${printable(url.href)} for an upload, without encryption`);
  }

  private findBase(): Promise<URL> {
    if (this.base) return this.base;
    const found = this.probe();
    this.base = found;
    found.catch(() => {
      this.base = undefined;
    });
    return found;
  }

  private async probe(): Promise<URL> {
    const { host, scheme } = this.endpoint;
    if (scheme !== 'any') return new URL(`${scheme}://${host}`);
    const url = new URL(`https://${host}/v2/`);
    try {
      const { body } = await this.transport.send({ method: 'GET', url, signal: this.options.signal });
      await body.dump();
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      const { code } = (error.cause ?? {}) as { code?: string };
      if (code !== undefined && mayBePlain(code, host)) return new URL(`http://${host}`);
      if (code !== undefined) throw error;
      // a redirect that was not followed: it speaks TLS
    }
    return new URL(`https://${host}`);
  }

  close(): void {
    this.transport.close();
  }
}

/** What a TLS handshake meets at a server that speaks http. */
function mayBePlain(code: string, host: string): boolean {
  const hasPort = /:\d+$/.test(host);
  return isNoTls(code) || ['ECONNRESET', 'UND_ERR_SOCKET'].includes(code) || (code === 'ECONNREFUSED' && !hasPort);
}
