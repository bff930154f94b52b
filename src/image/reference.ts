/**
 * Image references as docker reads them: [host[:port]/]path[:tag][@digest]. `alpine` is docker.io/library/alpine:latest,
 * and is shown as alpine:latest again. Pure. Source: distribution's reference grammar, normalised as docker does.
 */
import { ContainerError } from '../core/kernel/error.ts';

export interface Reference {
  /** Where it would come from: docker.io, localhost:5000 … */
  domain: string;
  /** The repository below the domain: library/alpine. */
  path: string;
  /** Absent only when there is a digest. */
  tag?: string;
  /** sha256:<64 hex>. */
  digest?: string;
}

const DEFAULT_DOMAIN = 'docker.io';
const OFFICIAL = 'library/';
const DEFAULT_TAG = 'latest';

const label = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const domainPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/;
const digestPattern = /^sha256:[a-f0-9]{64}$/;
const MOST_NAME_LENGTH = 255;

/** Throws ContainerError for what is no reference, naming the part that is wrong. */
export function parseReference(text: string): Reference {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  const { domain, path } = splitDomain(colon < 0 ? named : named.slice(0, colon));
  check(text, domain, path, tag, digest);
  const reference: Reference = { domain, path };
  if (digest === undefined) reference.tag = tag ?? DEFAULT_TAG;
  else reference.digest = digest;
  return reference;
}

/** The first component is a host when it looks like one: a dot, a port, capitals, or localhost. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  let domain = isHost ? first : DEFAULT_DOMAIN;
  let path = isHost ? name.slice(slash + 1) : name;
  if (domain === 'index.docker.io') domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !path.includes('/')) path = OFFICIAL + path;
  return { domain, path };
}

function check(text: string, domain: string, path: string, tag: string | undefined, digest: string | undefined): void {
  const wrong = (why: string) => new ContainerError(`invalid reference format: ${JSON.stringify(text)}: ${why}`);
  if (text.length === 64 && /^[a-f0-9]{64}$/.test(text))
    throw wrong('64 hexadecimal digits are an image id, not a name');
  if (path !== path.toLowerCase()) throw wrong('a repository name must be lowercase');
  if (domain !== DEFAULT_DOMAIN && !domainPattern.test(domain))
    throw wrong(`${JSON.stringify(domain)} is no host name`);
  if (!pathPattern.test(path))
    throw wrong('a name has letters a to z and digits, between them single . or _, __ or -, in parts divided by /');
  if (domain.length + 1 + path.length > MOST_NAME_LENGTH)
    throw wrong(`a name has at most ${MOST_NAME_LENGTH} characters`);
  if (tag !== undefined && !tagPattern.test(tag))
    throw wrong('a tag has up to 128 letters, digits, _, . and -, and begins with no . or -');
  if (digest !== undefined && !digestPattern.test(digest)) throw wrong('a digest is sha256: and 64 hexadecimal digits');
}

/** The repository as people write it: without docker.io/ and library/. */
export function familiarRepository({ domain, path }: Reference): string {
  if (domain !== DEFAULT_DOMAIN) return `${domain}/${path}`;
  const official = path.startsWith(OFFICIAL) && !path.includes('/', OFFICIAL.length);
  return official ? path.slice(OFFICIAL.length) : path;
}

/** As docker shows it: alpine:latest, alpine@sha256:… */
export function familiarName(reference: Reference): string {
  return familiarRepository(reference) + suffix(reference);
}

/** For other tools, which may have another default than docker.io: docker.io/library/alpine:latest. */
export function fullName(reference: Reference): string {
  return `${reference.domain}/${reference.path}${suffix(reference)}`;
}

/** ':latest' or '@sha256:…'. */
export function suffix({ tag, digest }: Reference): string {
  return digest === undefined ? `:${tag}` : `@${digest}`;
}
