/** The supervisor's socket: who may talk, one request a connection, the answer. */
import { closeSync, writeSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { setWindowSize } from '../engine/terminal.ts';
import type { Containers } from './containers.ts';
import { peerUid } from './keeper.ts';
import { readLines } from './lines.ts';
import { type Hello, PROTOCOL, type Reply, type Request, type Word } from './protocol.ts';

/** `listener`: a socket that listens already. */
export function serve(listener: HostFd, containers: Containers, changed: () => void): Server {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    void answer(socket, containers)
      .catch((error) => console.error(String(error)))
      .finally(() => {
        socket.end();
        changed();
      });
    socket.on('error', () => socket.destroy()); // the client is gone
    socket.on('close', changed);
  });
  server.listen({ fd: listener });
  return server;
}

/** Who connects says what he wants, or is hung up on: he would keep the supervisor from leaving. */
const REQUEST_MS = 30_000;

async function answer(socket: Socket, containers: Containers): Promise<void> {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  if (peerUid(fd) !== process.getuid!()) return void socket.destroy();
  const say = (reply: Reply | Hello) => socket.write(`${JSON.stringify(reply)}\n`);
  say({ protocol: PROTOCOL, pid: process.pid, keeperPid: process.ppid });
  const lines = readLines(socket);
  const patience = setTimeout(() => socket.destroy(), REQUEST_MS);
  const { value } = await lines.next().finally(() => clearTimeout(patience));
  if (value === undefined) return;
  try {
    say(await perform(parse(value), containers, say, lines));
  } catch (error) {
    say({ error: inWords(error) });
  }
}

/** @throws ContainerError for what is no request: its paths would be nobody's */
function parse(line: string): Request {
  try {
    const request = JSON.parse(line) as Request;
    if (/^[0-9a-f]{64}$/.test(request.id) && request.root.startsWith('/')) return request;
  } catch {
    // as for any other line
  }
  throw new ContainerError(`the supervisor can't make sense of ${JSON.stringify(line.slice(0, 60))}`);
}

function inWords(error: unknown): { message: string; hint?: string; exitCode: number } {
  if (!(error instanceof ContainerError)) console.error(error);
  const { message, hint, exitCode = 125 } = error as ContainerError;
  return { message, exitCode, ...(hint === undefined ? {} : { hint }) };
}

async function perform(
  request: Request,
  containers: Containers,
  say: (reply: Reply) => void,
  lines: AsyncGenerator<string>,
): Promise<Reply> {
  switch (request.op) {
    case 'start':
      await containers.start(request.root, request.id);
      return { done: {} };
    case 'stop': {
      const forced = await containers.stop(request);
      return { done: forced ? { forced } : {} };
    }
    case 'kill':
      await containers.kill(request.root, request.id, request.signal);
      return { done: {} };
    case 'wait':
      return { done: { exitCode: await containers.wait(request.root, request.id) } };
    case 'input':
      if (await passInput(containers.input(request.id), lines, () => say({ ready: true })))
        containers.endInput(request.id);
      return { done: {} };
    default:
      throw new ContainerError(`the supervisor knows no ${JSON.stringify((request as { op: unknown }).op)}`);
  }
}

/** How long a container that does not read is left alone before it is offered its input again. */
const PATIENCE_MS = 10;

/** Owns `fd`. Returns true for the end of the input, false when the client has left. */
async function passInput(fd: HostFd, lines: AsyncGenerator<string>, ready: () => void): Promise<boolean> {
  try {
    syscall('fcntl', [fd, k.F_SETFL, k.O_RDWR | k.O_NONBLOCK]); // a container that does not read holds up nobody else
    ready();
    for await (const line of lines) {
      const { bytes, size, end } = JSON.parse(line) as Word;
      if (bytes !== undefined) await writeAll(fd, Buffer.from(bytes, 'base64'));
      if (size) setWindowSize(fd, size.rows, size.columns);
      if (end) return true;
    }
    return false;
  } finally {
    closeSync(fd);
  }
}

async function writeAll(fd: HostFd, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; )
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EAGAIN') throw error;
      await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
    }
}
