/**
 * The files that hold credentials: docker's config.json, and podman's auth.json, which has the same form. Host side.
 * Source: docker/cli, configuration files; containers-auth.json(5).
 */
import {
  chownSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { randomHex } from '../core/host/random.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { RegistrySettings } from './settings.ts';

type Environment = RegistrySettings['env'];

export interface AuthEntry {
  /** Base64 of user:password. */
  auth?: string;
  username?: string;
  password?: string;
  identitytoken?: string;
  registrytoken?: string;
}

/** Only what is read here; a file has other keys, too. */
export interface CredentialFile {
  auths?: Record<string, AuthEntry>;
  /** Registry to helper. */
  credHelpers?: Record<string, string>;
  /** The helper of all other registries. */
  credsStore?: string;
}

/** Where `docker login` and `tinyctr login` write. */
export function dockerConfigFile(env: Environment): string {
  return join(env.DOCKER_CONFIG || join(homeOf(env), '.docker'), 'config.json');
}

/** Where `podman login` writes: the file it is told, or one that ends with the session, or one that stays. */
export function podmanAuthFiles(env: Environment): string[] {
  if (env.REGISTRY_AUTH_FILE) return [env.REGISTRY_AUTH_FILE];
  const runtime = env.XDG_RUNTIME_DIR
    ? join(env.XDG_RUNTIME_DIR, 'containers')
    : `/run/containers/${process.getuid?.()}`;
  return [
    join(runtime, 'auth.json'),
    join(env.XDG_CONFIG_HOME || join(homeOf(env), '.config'), 'containers/auth.json'),
  ];
}

function homeOf(env: Environment): string {
  return env.HOME || homedir();
}

/** Undefined when there is none. Throws ContainerError, without a word of the content, for one that can't be read. */
export function readCredentialFile(file: string): CredentialFile | undefined {
  let text: string;
  try {
    if (!statSync(file).isFile()) throw new ContainerError('it is no file');
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new ContainerError(`${file}, which may hold credentials, can't be read`, { cause: error });
  }
  if (text.trim() === '') return {};
  return checked(file, text);
}

function checked(file: string, text: string): CredentialFile {
  const fault = (what: string) => new ContainerError(`${file} is damaged: ${what}`);
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw fault('it is no JSON'); // the parser's own message would quote from it
  }
  if (!isObject(content)) throw fault('it is no JSON object');
  const { auths, credHelpers, credsStore } = content as { [key: string]: unknown };
  if (auths !== undefined && !(isObject(auths) && Object.values(auths).every(isEntry)))
    throw fault('"auths" is not what it should be');
  if (credHelpers !== undefined && !(isObject(credHelpers) && Object.values(credHelpers).every(isText)))
    throw fault('"credHelpers" is not what it should be');
  if (credsStore !== undefined && !isText(credsStore)) throw fault('"credsStore" is no text');
  return content;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isEntry(value: unknown): boolean {
  const names = ['auth', 'username', 'password', 'identitytoken', 'registrytoken'];
  return isObject(value) && names.every((name) => value[name] === undefined || isText(value[name]));
}

/**
 * Replaces the file by one rename, readable by its owner alone. A symbolic link stays one, and who owned the old file
 * owns the new one: with sudo it may be another user's.
 */
export function writeCredentialFile(file: string, content: CredentialFile): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const old = statSync(file, { throwIfNoEntry: false });
  const target = old ? realpathSync(file) : file;
  const temporary = `${target}.${randomHex(8)}`;
  try {
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      writeSync(fd, `${JSON.stringify(content, null, '\t')}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (old && process.getuid?.() === 0) chownSync(temporary, old.uid, old.gid);
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new ContainerError(`${file} can't be written`, { cause: error });
  }
}
