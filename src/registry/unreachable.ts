/** Why no answer came: undici's and Node's errors as sentences, and whether another attempt makes sense. Pure. */
import { ContainerError } from '../core/kernel/error.ts';
import { printable, RegistryError } from './failure.ts';

/** The connection broke, or nothing came in time: it may go well the next time. */
const TRANSIENT: Record<string, string> = {
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  ETIMEDOUT: 'no answer',
  EAI_AGAIN: 'its name could not be looked up: the name server does not answer',
  UND_ERR_SOCKET: 'the connection was closed before the end of the answer',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_BODY_TIMEOUT: 'the rest of the answer did not come in time',
};

const LASTING: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there (connection refused)',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ENOTFOUND: 'there is no host of this name',
  UND_ERR_HEADERS_OVERFLOW: 'the header of its answer is too large',
};

/** Those of OpenSSL's X509_V_ERR and Node's that mean: the certificate, not the connection. */
const CERTIFICATE =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|ERR_TLS_CERT_|UND_ERR_PRX_TLS|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/;

export function explainConnection(error: unknown, url: URL, proxy: URL | undefined): Error {
  if (error instanceof ContainerError) return error;
  const { code = '', message = String(error) } = error as { code?: string; message?: string };
  const where = proxy === undefined ? url.host : `${url.host}, by the proxy ${proxy.host}`;
  if (CERTIFICATE.test(code))
    return new RegistryError(`${where}: its certificate is not trusted: ${printable(message)}`, {
      cause: error,
      hint: 'NODE_EXTRA_CA_CERTS=FILE names further authorities; --insecure looks at no certificate',
    });
  if (isNoTls(code))
    return new RegistryError(`${where}: it does not speak TLS`, {
      cause: error,
      hint: '--insecure also takes plain http',
    });
  const known = TRANSIENT[code] ?? LASTING[code] ?? printable(message);
  return new RegistryError(`${where}: ${known}`, { cause: error, transient: code in TRANSIENT });
}

/** The other side answered, but not as TLS wants it. */
export function isNoTls(code: string): boolean {
  return code === 'EPROTO' || code.startsWith('ERR_SSL_');
}
