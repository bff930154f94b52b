/**
 * The Authorization header for one endpoint: Basic, or a Bearer token per scope from the token server that the registry
 * names. Credentials are looked for when the registry first asks. Host side.
 * Source: distribution's token authentication (GET with Basic; POST for an identity token).
 */
import { type Challenge, parseChallenges } from './challenge.ts';
import { type Credentials, fileOfSudoUser, findCredentials } from './credentials.ts';
import { parseObject, readWhole } from './document.ts';
import { type Endpoint, isLoopback } from './endpoint.ts';
import { printable, RegistryError } from './failure.ts';
import { withRetries } from './retry.ts';
import type { RegistrySettings } from './settings.ts';
import { type Asked, explainStatus } from './status.ts';
import type { Answer, Exchange, Transport } from './transport.ts';

interface Surroundings {
  settings: RegistrySettings;
  transport: Transport;
  insecure: boolean;
  signal: AbortSignal | undefined;
  /** Instead of those in files. */
  credentials?: Credentials | undefined;
}

interface Token {
  header: string;
  /** Date.now() until when it is sent. */
  until: number;
}

const CLIENT_ID = 'tinyctr';
const MOST_TOKEN_BYTES = 1024 * 1024;
/** Of a token whose server doesn't say. Source: distribution's token authentication. */
const DEFAULT_EXPIRY_S = 60;

export class Authenticator {
  private readonly endpoint: Endpoint;
  private readonly around: Surroundings;
  private credentials: Promise<Credentials | undefined> | undefined;
  private basic: string | undefined;
  private bearer: Challenge | undefined;
  private readonly tokens = new Map<string, Promise<Token>>();
  /** What a token server gave besides a token when it was asked for one: docker calls it identity token. */
  identityToken: string | undefined;

  constructor(endpoint: Endpoint, around: Surroundings) {
    this.endpoint = endpoint;
    this.around = around;
  }

  /** The header for `scopes`, as far as the registry's wishes are known: undefined before it has asked. */
  async header(scopes: readonly string[]): Promise<string | undefined> {
    if (this.bearer) return (await this.token(this.bearer, scopes)).header;
    return this.basic;
  }

  /** After a 401 to a request with the header `sent`: another one to try, or undefined: there is none. */
  async renew(answer: Answer, scopes: readonly string[], sent: string | undefined): Promise<string | undefined> {
    const challenges = parseChallenges(answer.headers['www-authenticate']);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer) {
      this.bearer = bearer;
      const held = await this.tokens.get(keyOf(scopes))?.catch(() => undefined);
      if (held?.header === sent) this.tokens.delete(keyOf(scopes));
      return (await this.token(bearer, scopes)).header;
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic'))
      throw new RegistryError(
        `${this.endpoint.name} asks for authentication in a way that is not known: ${printable(
          JSON.stringify(answer.headers['www-authenticate'] ?? 'no WWW-Authenticate header'),
        )}`,
        { status: 401 },
      );
    const found = await this.find();
    if (found?.kind !== 'password') return undefined;
    this.basic = basicHeader(found);
    return this.basic === sent ? undefined : this.basic;
  }

  /** For errors: on whose behalf we ask. */
  async who(): Promise<Pick<Asked, 'who' | 'anonymous' | 'notRead'>> {
    const found = await this.credentials;
    if (found === undefined)
      return {
        who: 'anonymous users',
        anonymous: true,
        notRead: fileOfSudoUser(this.endpoint.registry, this.around.settings.env),
      };
    const user = found.kind === 'password' ? `user ${JSON.stringify(printable(found.user))}` : 'the owner of a token';
    return { who: `${user} (credentials from ${found.source})`, anonymous: false };
  }

  private find(): Promise<Credentials | undefined> {
    const { settings, credentials } = this.around;
    this.credentials ??= credentials ? Promise.resolve(credentials) : findCredentials(this.endpoint, settings);
    return this.credentials;
  }

  /** One request to the token server for all who want the same scopes at once. */
  private async token(challenge: Challenge, scopes: readonly string[]): Promise<Token> {
    const key = keyOf(scopes);
    const held = this.tokens.get(key);
    const token = await held;
    if (token !== undefined && token.until > Date.now()) return token;
    const newer = this.tokens.get(key);
    if (newer !== undefined && newer !== held) return await newer;
    const fetched = this.fetchToken(challenge, scopes);
    this.tokens.set(key, fetched);
    fetched.catch(() => this.tokens.get(key) === fetched && this.tokens.delete(key));
    return await fetched;
  }

  private async fetchToken({ parameters }: Challenge, scopes: readonly string[]): Promise<Token> {
    const credentials = await this.find();
    if (credentials?.kind === 'registryToken')
      return { header: `Bearer ${credentials.token}`, until: Number.POSITIVE_INFINITY };
    const realm = this.checkRealm(parameters.realm ?? '');
    const wanted = [...new Set([...(parameters.scope ?? '').split(' '), ...scopes])].filter((scope) => scope !== '');
    const exchange = tokenRequest(
      realm,
      parameters.service,
      wanted,
      credentials,
      this.around.credentials !== undefined,
    );
    const { settings, transport, signal } = this.around;
    const issued = await withRetries(settings, signal, async () => {
      const answer = await transport.send({ ...exchange, signal });
      if (answer.status !== 200) throw await this.refused(answer, realm);
      return parseObject(await readWhole(answer, MOST_TOKEN_BYTES, `the token of ${realm.host}`));
    });
    const { token, access_token, refresh_token, expires_in } = issued ?? {};
    const text = token ?? access_token;
    if (typeof text !== 'string' || !/^[\x21-\x7e]+$/.test(text))
      throw new RegistryError(`${realm.host}, the token server of ${this.endpoint.name}, gives no token`);
    if (typeof refresh_token === 'string') this.identityToken = refresh_token;
    const seconds = typeof expires_in === 'number' && expires_in > 0 ? expires_in : DEFAULT_EXPIRY_S;
    return { header: `Bearer ${text}`, until: Date.now() + seconds * 900 }; // a tenth earlier: it has a way to go
  }

  /** Credentials go there: it has to be as safe as the registry itself. */
  private checkRealm(text: string): URL {
    const { name, host, scheme } = this.endpoint;
    const fault = (why: string) =>
      new RegistryError(`the token server of ${name} is ${printable(JSON.stringify(text))}, ${why}`);
    if (!URL.canParse(text)) throw fault('which is no URL');
    const realm = new URL(text);
    if (realm.username || realm.password) throw fault('with a user in it');
    const plain = scheme === 'http' || this.around.insecure || (isLoopback(host) && isLoopback(realm.host));
    if (realm.protocol === 'https:' || (realm.protocol === 'http:' && plain)) return realm;
    throw fault('without encryption');
  }

  private async refused(answer: Answer, realm: URL): Promise<RegistryError> {
    const { name, registry } = this.endpoint;
    const what = `get a token from ${realm.host}`;
    const error = await explainStatus(answer, { registry: name, server: registry, what, ...(await this.who()) });
    if (answer.status !== 401 && answer.status !== 403) return error;
    return new RegistryError(`${name}: ${realm.host} refuses the credentials of ${(await this.who()).who}`, {
      status: answer.status,
      cause: error,
      hint: `tinyctr login ${registry}, or tinyctr logout ${registry} to ask anonymously`,
    });
  }
}

/** `offline`: ask for an identity token, too. */
function tokenRequest(
  realm: URL,
  service: string | undefined,
  scopes: readonly string[],
  credentials: Credentials | undefined,
  offline: boolean,
): Exchange {
  if (credentials?.kind === 'identityToken') {
    const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: CLIENT_ID });
    form.set('refresh_token', credentials.token);
    form.set('service', service ?? '');
    form.set('scope', scopes.join(' '));
    const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' };
    return { method: 'POST', url: realm, headers, body: form.toString(), redirects: 0 };
  }
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  const headers = { accept: 'application/json' };
  if (credentials?.kind !== 'password') return { method: 'GET', url, headers };
  url.searchParams.set('account', credentials.user);
  url.searchParams.set('client_id', CLIENT_ID);
  if (offline) url.searchParams.set('offline_token', 'true');
  return { method: 'GET', url, headers, authorization: basicHeader(credentials) };
}

function basicHeader({ user, password }: { user: string; password: string }): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function keyOf(scopes: readonly string[]): string {
  return scopes.join(' ');
}
