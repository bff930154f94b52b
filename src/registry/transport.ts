/**
 * HTTP requests, one attempt each, by undici (which only this file imports): connections that are kept, proxies, TLS, and
 * redirects followed by hand, so that a password never reaches another server. Host side.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { trustedCertificates } from './certificates.ts';
import { isLoopback } from './endpoint.ts';
import { printable, RegistryError } from './failure.ts';
import { proxyFor } from './proxy.ts';
import type { RegistrySettings } from './settings.ts';
import { explainConnection } from './unreachable.ts';

export interface Exchange {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  url: URL;
  headers?: Record<string, string>;
  /** The Authorization header: for the URL's own scheme, host and port, whatever it redirects to. */
  authorization?: string | undefined;
  /** A function is called for each attempt, for a stream can be read once. */
  body?: string | Buffer | (() => Readable);
  /** Without an answer for so long it has failed; `stallMs` when absent. */
  answerMs?: number;
  /** Followed at most; 10 when absent. 0 where the body is a secret. */
  redirects?: number;
  signal?: AbortSignal | undefined;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  /** Has to be read to its end, destroyed or dumped: it holds a connection. */
  body: Dispatcher.ResponseData['body'];
  /** Where it came from, after redirects. */
  url: URL;
}

const MOST_REDIRECTS = 10;
const AGENT = 'tinyctr';

export class Transport {
  private readonly settings: RegistrySettings;
  private readonly insecure: boolean;
  private readonly dispatchers = new Map<string, Promise<Dispatcher>>();

  /** `insecure`: certificates are not looked at. */
  constructor(settings: RegistrySettings, insecure: boolean) {
    this.settings = settings;
    this.insecure = insecure;
  }

  /** Any status is an answer. Throws RegistryError where none came, and the signal's reason when it was aborted. */
  async send(exchange: Exchange): Promise<Answer> {
    let { url, method, body } = exchange;
    for (let redirects = 0; ; redirects++) {
      const answer = await this.once(
        { ...exchange, url, method, ...(body === undefined ? {} : { body }) },
        exchange.url,
      );
      const target = locationOf(answer);
      if (target === undefined) return answer;
      await answer.body.dump();
      this.check(exchange, url, target, redirects);
      if (answer.status === 303 && method !== 'HEAD') {
        method = 'GET';
        body = undefined;
      }
      url = target;
    }
  }

  private async once(exchange: Exchange, first: URL): Promise<Answer> {
    const { url, method, body, signal, authorization } = exchange;
    const proxy = proxyFor(url, this.settings.env);
    const headers: Record<string, string> = { 'user-agent': AGENT, ...exchange.headers };
    if (authorization !== undefined && url.origin === first.origin) headers.authorization = authorization;
    try {
      const dispatcher = await this.dispatcher(proxy);
      const {
        statusCode,
        headers: received,
        body: stream,
      } = await dispatcher.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method,
        headers,
        body: typeof body === 'function' ? body() : (body ?? null),
        headersTimeout: exchange.answerMs ?? this.settings.stallMs,
        signal: signal ?? null,
      });
      stream.on('error', () => {}); // whoever reads it hears of it, too
      return { status: statusCode, headers: received, body: stream, url };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw error instanceof RegistryError ? error : explainConnection(error, url, proxy);
    }
  }

  private check(exchange: Exchange, from: URL, to: URL, redirects: number): void {
    const { redirects: most = MOST_REDIRECTS } = exchange;
    const where = `${from.host} redirects to ${printable(to.origin)}`;
    if (redirects >= most)
      throw new RegistryError(
        most === 0 ? `${where}; a password is not carried there` : `${where}, and has ${most} times before`,
      );
    if (to.protocol !== 'https:' && to.protocol !== 'http:') throw new RegistryError(`${where}, which is not http`);
    const local = isLoopback(from.host) && isLoopback(to.host);
    if (from.protocol === 'https:' && to.protocol === 'http:' && !local && !this.insecure)
      throw new RegistryError(`${where}, which would give up encryption`);
  }

  private dispatcher(proxy: URL | undefined): Promise<Dispatcher> {
    const key = proxy?.href ?? '';
    const made = this.dispatchers.get(key) ?? this.makeDispatcher(proxy);
    this.dispatchers.set(key, made);
    return made;
  }

  private async makeDispatcher(proxy: URL | undefined): Promise<Dispatcher> {
    const { setFlagsFromString } = await import('node:v8');
    // undici's parser is WebAssembly. Compiled once more, for speed, it would take 29 MB and a tenth of a second.
    setFlagsFromString('--liftoff-only');
    const { Agent, ProxyAgent } = await import('undici');
    const { connectMs, stallMs, env } = this.settings;
    const timeouts = { headersTimeout: stallMs, bodyTimeout: stallMs };
    const connect = {
      timeout: connectMs,
      secureContext: trustedCertificates(env),
      rejectUnauthorized: !this.insecure,
    };
    if (proxy === undefined) return new Agent({ ...timeouts, connect });
    return new ProxyAgent({ ...timeouts, uri: proxy.href, proxyTunnel: false, requestTls: connect, proxyTls: connect });
  }

  /** Ends all connections, and with them whatever is still being read. */
  close(): void {
    for (const dispatcher of this.dispatchers.values()) dispatcher.then((it) => it.destroy()).catch(() => {}); // it was never made
  }
}

/** Where an answer sends us, or undefined when it doesn't. */
function locationOf({ status, headers: { location }, url }: Answer): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return undefined;
  if (!URL.canParse(location, url.href))
    throw new RegistryError(`${url.host} redirects to ${printable(location)}, which is no URL`);
  return new URL(location, url);
}
