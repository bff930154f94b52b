/**
 * Whom we trust: the machine's certificates, as docker and podman do, and those of NODE_EXTRA_CA_CERTS, which the
 * launcher takes away from Node and hands on as TINYCTR_EXTRA_CA_CERTS. Host side.
 */
import { readFileSync } from 'node:fs';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { ContainerError } from '../core/kernel/error.ts';
import type { RegistrySettings } from './settings.ts';

/** Debian and Alpine, Fedora, openSUSE. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
];

/** Made once for all connections: reading a hundred certificates takes some milliseconds. Throws ContainerError. */
export function trustedCertificates(env: RegistrySettings['env']): SecureContext {
  const extra = env.TINYCTR_EXTRA_CA_CERTS || env.NODE_EXTRA_CA_CERTS;
  const ca = systemCertificates(env.SSL_CERT_FILE);
  if (extra) ca.push(readExtra(extra));
  try {
    return createSecureContext({ ca });
  } catch (error) {
    throw new ContainerError(`${extra ?? 'the certificates of this machine'} can't be used: ${String(error)}`);
  }
}

function systemCertificates(named: string | undefined): string[] {
  for (const file of named ? [named, ...SYSTEM_BUNDLES] : SYSTEM_BUNDLES)
    try {
      return [readFileSync(file, 'utf8')];
    } catch {
      // the next one, and at last those that Node brings along
    }
  return [...rootCertificates];
}

function readExtra(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ContainerError(`the certificates of NODE_EXTRA_CA_CERTS can't be read: ${file}`, { cause: error });
  }
}
