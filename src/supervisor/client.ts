/** A client's end of the way to the supervisor: connects, and starts it (through the keeper) where there is none. Host side. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { nativeFolder } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { privateFolder } from '../lifecycle/state.ts';
import { readLines } from './lines.ts';
import { type Hello, LOG_NAME, PROTOCOL, type Reply, type Request, SOCKET_NAME, type Word } from './protocol.ts';

/** Its start takes about a tenth of a second. */
const PATIENCE_MS = 30_000;
/** A keeper that was just leaving could be what kept a new one from beginning. */
const AGAIN_MS = 1000;

export type Done = Extract<Reply, { done: unknown }>['done'];

export interface Answer {
  /** Throws ContainerError. */
  done: Promise<Done>;
  /** Resolves when input may come. */
  ready: Promise<void>;
  say(word: Word): void;
  /** Ends the connection. */
  leave(): void;
}

/** Sends one request, whose answer `done` is. Throws ContainerError as the supervisor does. */
export async function ask(runRoot: string, request: Request): Promise<Done> {
  return await (await begin(runRoot, request)).done;
}

export async function supervisorPids(root: string, runRoot: string): Promise<Hello> {
  const { hello, socket } = await connected(root, runRoot);
  socket.destroy();
  return hello;
}

/** Asked again, these come to the same: a supervisor that is killed meanwhile is not noticed. */
const repeatable: readonly Request['op'][] = ['wait', 'stop'];

export async function begin(runRoot: string, request: Request): Promise<Answer> {
  const text = `${JSON.stringify({ ...request, root: resolve(request.root) })}\n`;
  const send = async () => {
    const connection = await connected(request.root, runRoot);
    connection.socket.write(text);
    return connection;
  };
  let { socket, lines } = await send();
  let hasLeft = false;
  let isReady = () => {};
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const answer = async (): Promise<Done> => {
    for (;;) {
      const done = await readAnswer(lines, isReady);
      if (done) return done;
      if (hasLeft || !repeatable.includes(request.op)) break;
      ({ socket, lines } = await send());
      if (hasLeft) socket.destroy();
    }
    throw new ContainerError(`the supervisor ended before it answered`, {
      hint: `tinyctr ps tells what is; what it last said: ${lastWords(runRoot)}`,
    });
  };
  return {
    done: answer().finally(() => socket.destroy()),
    ready,
    say: (word) => socket.write(`${JSON.stringify(word)}\n`),
    leave: () => {
      hasLeft = true;
      socket.destroy();
    },
  };
}

/** Undefined if the connection ends before. */
async function readAnswer(lines: AsyncGenerator<string>, isReady: () => void): Promise<Done | undefined> {
  try {
    for await (const line of lines) {
      const reply = JSON.parse(line) as Reply;
      if ('ready' in reply) isReady();
      else if ('done' in reply) return reply.done;
      else throw new ContainerError(reply.error.message, reply.error);
    }
  } catch (error) {
    if (!['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes((error as { code?: string }).code ?? ''))
      throw error;
  }
  return undefined;
}

interface Connected {
  socket: Socket;
  lines: AsyncGenerator<string>;
  hello: Hello;
}

async function connected(root: string, runRoot: string): Promise<Connected> {
  const begun = performance.now();
  for (let asked = -AGAIN_MS; ; await setTimeout(10)) {
    const found = await connect(runRoot);
    if (found) return checked(found);
    const now = performance.now() - begun;
    if (now > PATIENCE_MS) throw silent(runRoot, 'does not start');
    if (now - asked < AGAIN_MS) continue;
    startKeeper(root, runRoot);
    asked = now;
  }
}

const silent = (runRoot: string, what: string): ContainerError =>
  new ContainerError(`the supervisor ${what}`, { hint: `what it last said: ${lastWords(runRoot)}` });

function checked(found: Connected): Connected {
  if (found.hello.protocol === PROTOCOL) return found;
  found.socket.destroy();
  throw new ContainerError(`the supervisor speaks protocol ${found.hello.protocol}, this tinyctr ${PROTOCOL}`, {
    hint: `it is of another version: kill ${found.hello.pid}, no container ends by that`,
  });
}

/** Undefined where nobody is, or is about to leave: an end comes in place of the Hello. */
async function connect(runRoot: string): Promise<Connected | undefined> {
  const folder = openFolder(runRoot);
  if (folder === undefined) return undefined;
  // The path of a Unix socket has at most 107 bytes; a run root may have more.
  const socket = createConnection(`/proc/self/fd/${folder}/${SOCKET_NAME}`);
  const lines = readLines(socket);
  const patience = globalThis.setTimeout(
    () => socket.destroy(silent(runRoot, `says nothing for ${PATIENCE_MS / 1000} s`)),
    PATIENCE_MS,
  );
  try {
    const { value } = await lines.next();
    if (value !== undefined) return { socket, lines, hello: JSON.parse(value) as Hello };
  } catch (error) {
    if (!['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EAGAIN'].includes((error as { code?: string }).code ?? ''))
      throw error;
  } finally {
    clearTimeout(patience);
    closeSync(folder);
  }
  socket.destroy();
  return undefined;
}

function openFolder(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A second one at the same time sees the first one's lock, and ends. */
function startKeeper(root: string, runRoot: string): void {
  privateFolder(runRoot);
  const log = openSync(`${runRoot}/${LOG_NAME}`, 'a', 0o600);
  const here = import.meta.dirname;
  const top = here.slice(0, Math.max(here.lastIndexOf('/dist'), here.lastIndexOf('/src/')));
  const [place, store] = [resolve(runRoot), resolve(root)];
  const words = [place, process.execPath, `${top}/dist/tinyctr-supervisor.cjs`, place, store];
  const idleMs = process.env.TINYCTR_SUPERVISOR_IDLE_MS;
  const keeper = spawn(`${nativeFolder}/keeper`, words, {
    detached: true,
    cwd: '/',
    stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH, ...(idleMs === undefined ? {} : { TINYCTR_SUPERVISOR_IDLE_MS: idleMs }) },
  });
  keeper.once('error', () => undefined); // the socket tells
  keeper.unref();
  closeSync(log);
}

function lastWords(runRoot: string): string {
  try {
    return readFileSync(`${runRoot}/${LOG_NAME}`, 'utf8').trimEnd().split('\n').slice(-3).join(' / ') || 'nothing';
  } catch {
    return 'nothing';
  }
}
