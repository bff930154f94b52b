/**
 * Programs docker-credential-NAME that keep credentials in a keychain. Host side.
 * Source: docker/docker-credential-helpers, README (get, store, erase: a line or JSON on standard input).
 */
import { spawn } from 'node:child_process';
import { ContainerError } from '../core/kernel/error.ts';
import { parseObject } from './document.ts';
import { printable } from './failure.ts';
import type { RegistrySettings } from './settings.ts';

export interface Kept {
  /** "<token>" when the secret is an identity token. */
  user: string;
  secret: string;
}

/** It may ask for the keychain's password. */
const TIMEOUT_MS = 120_000;
const NOT_FOUND = /credentials not found/i;
const MOST_OUTPUT_BYTES = 1024 * 1024;

/** Undefined when it has none for `server`. Throws ContainerError when it can't be asked. */
export async function askHelper(name: string, server: string, env: RegistrySettings['env']): Promise<Kept | undefined> {
  const { code, output } = await call(name, 'get', server, env);
  const text = output.toString('utf8');
  if (code !== 0 && NOT_FOUND.test(text)) return undefined;
  if (code !== 0) throw fault(name, text);
  const { Username, Secret } = parseObject(output) ?? {};
  if (typeof Username !== 'string' || typeof Secret !== 'string')
    throw fault(name, 'its answer is not what it should be');
  return Secret === '' ? undefined : { user: Username, secret: Secret };
}

export async function storeInHelper(
  name: string,
  server: string,
  kept: Kept,
  env: RegistrySettings['env'],
): Promise<void> {
  const input = JSON.stringify({ ServerURL: server, Username: kept.user, Secret: kept.secret });
  const { code, output } = await call(name, 'store', input, env);
  if (code !== 0) throw fault(name, output.toString('utf8'));
}

/** True when it had some. */
export async function eraseInHelper(name: string, server: string, env: RegistrySettings['env']): Promise<boolean> {
  const { code, output } = await call(name, 'erase', server, env);
  const text = output.toString('utf8');
  if (code !== 0 && !NOT_FOUND.test(text)) throw fault(name, text);
  return code === 0;
}

function fault(name: string, why: string): ContainerError {
  return new ContainerError(`docker-credential-${printable(name)} failed: ${printable(why) || 'without a word'}`);
}

async function call(
  name: string,
  verb: string,
  input: string,
  env: RegistrySettings['env'],
): Promise<{ code: number; output: Buffer }> {
  if (!/^[A-Za-z0-9_.-]+$/.test(name)) throw fault(name, 'this is no name of a helper');
  const child = spawn(`docker-credential-${name}`, [verb], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...env },
  });
  const timer = setTimeout(() => child.kill(), TIMEOUT_MS); // spawn's own would go on after ENOENT
  const chunks: Buffer[] = [];
  let length = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > MOST_OUTPUT_BYTES) child.kill();
    else chunks.push(chunk);
  });
  child.stdin.on('error', () => {}); // it did not read all of it
  child.stdin.end(input);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', (error: NodeJS.ErrnoException) =>
        reject(fault(name, error.code === 'ENOENT' ? 'there is no such program on the PATH' : error.message)),
      );
      child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks) }));
    });
  } finally {
    clearTimeout(timer);
  }
}
