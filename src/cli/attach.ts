/** A running container at this terminal: what it writes, what is typed, and the keys that leave it. */
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { readRecord } from '../engine/containers.ts';
import { DETACH_KEYS, DetachKeys } from '../engine/detach-keys.ts';
import { follow } from '../engine/follow.ts';
import { containerEvent, tell } from '../engine/journal.ts';
import { LogReader } from '../engine/logs.ts';
import { readStored, type StoredContainer } from '../engine/stored-file.ts';
import { isTerminal, makeRaw, standInForHungUp, windowSize } from '../engine/terminal.ts';
import { UsageError } from '../engine/usage-error.ts';
import { type Answer, ask, begin } from '../supervisor/client.ts';
import type { Globals } from './globals.ts';
import { writeAll } from './write-all.ts';

interface AttachWish {
  input: boolean;
  /** Signals that this process gets are the container's, unless that has a terminal, whose keys make its own. */
  proxy: boolean;
  keys: string | undefined;
  /** Starts it, once its output is listened to. */
  before?: () => Promise<unknown>;
}

/** Why the container was left to itself, and the exit status then. */
type Leave = { words?: string; status: number };
const TYPED: Leave = { words: '\r\nread escape sequence: the container goes on\r\n', status: 0 };
const HUNG_UP: Leave = { status: 129 };
const INSISTED: Leave = {
  words: 'tinyctr: the third signal: the container goes on without this command\n',
  status: 130,
};

/** Returns its exit status, or that of having left it. @throws ContainerError, UsageError */
export async function attach({ root, runRoot }: Globals, id: string, wish: AttachWish): Promise<number> {
  const stored = readStored(root, id);
  const keys = check(id, stored, wish);
  let leave: (why: Leave) => void = () => {};
  const left = new Promise<Leave>((resolve) => {
    leave = resolve;
  });
  const reader = new LogReader(`${root}/containers/${id}`);
  reader.skip();
  await wish.before?.();
  const waiting = await begin(runRoot, { op: 'wait', root, id });
  const ended = Promise.race([waiting.done, left]);
  const record = readRecord(root, id);
  if (record) tell(root, [containerEvent(record, 'attach')]);
  let input: Answer | undefined;
  const releases: (() => void)[] = [];
  try {
    if (wish.proxy && !stored.tty) {
      const send = (signal: number) => ask(runRoot, { op: 'kill', root, id, signal });
      releases.push(proxySignals(send, () => leave(INSISTED)));
    }
    if (wish.input && stored.interactive) {
      input = await begin(runRoot, { op: 'input', root, id });
      releases.push(await passInput(input, stored.tty, keys, leave));
    }
    await follow(reader, ended, ({ bytes, stream }) => {
      if (!isWritten(stream === 'stdout' ? 1 : 2, bytes)) leave(HUNG_UP);
    });
    const done = await ended;
    if ('status' in done) {
      if (record) tell(root, [containerEvent(record, 'detach')]);
      if (done.words) process.stderr.write(done.words);
      return done.status;
    }
    return done.exitCode ?? 0;
  } finally {
    for (const release of releases) release();
    waiting.leave();
    input?.leave();
  }
}

/** @throws ContainerError, UsageError where what is asked for can't be had; nothing has happened then */
function check(id: string, { log, tty, interactive }: StoredContainer, { input, keys }: AttachWish): DetachKeys {
  const name = `container ${id.slice(0, 12)}`;
  if (log.driver === 'none')
    throw new ContainerError(`${name} can't be attached to: it was made with --log-driver none`);
  if (keys !== undefined && !(tty && interactive && input))
    throw new UsageError(
      `--detach-keys are typed at a terminal: ${name} was made without -i and -t, or is given no input`,
    );
  if (tty && interactive && input && !isTerminal(0))
    throw new ContainerError(`${name} has a terminal, but standard input is none`, {
      hint: 'to see what it writes: tinyctr attach --no-stdin, or tinyctr logs -f',
      exitCode: 1,
    });
  return new DetachKeys(keys ?? DETACH_KEYS);
}

/** False for a terminal that has hung up. */
function isWritten(fd: 1 | 2, bytes: Buffer): boolean {
  try {
    writeAll(fd, bytes);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'EIO') throw error;
    return false;
  }
}

/** Those that end or inform a program and that Node lets us have: SIGUSR1 starts its debugger. */
const proxied = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR2', 'SIGTERM', 'SIGALRM'] as const;

/** Returns what ends it. A container's first process may ignore SIGINT: with the third one the client leaves. */
function proxySignals(send: (signal: number) => Promise<unknown>, leave: () => void): () => void {
  let insisted = 0;
  const hear = (name: NodeJS.Signals, signal: number) => {
    if (name === 'SIGHUP') process.once('exit', standInForHungUp);
    if ((name === 'SIGINT' || name === 'SIGTERM') && ++insisted === 3) leave();
    else send(signal).catch(() => undefined); // it has just ended
  };
  for (const name of proxied) process.on(name, hear);
  return () => {
    for (const name of proxied) process.off(name, hear);
  };
}

/** Returns what gives the terminal back. */
async function passInput(
  input: Answer,
  tty: boolean,
  keys: DetachKeys,
  leave: (why: Leave) => void,
): Promise<() => void> {
  input.done.catch(() => undefined); // it ends with the container
  await Promise.race([input.ready, input.done]);
  const restore = tty ? makeRaw(0 as HostFd) : () => {};
  process.once('exit', restore);
  const resize = () => {
    const size = windowSize(1 as HostFd);
    if (size.rows > 0 && size.columns > 0) input.say({ size });
  };
  if (tty) {
    resize();
    process.on('SIGWINCH', resize);
  }
  process.stdin.on('data', (typed: Buffer) => {
    const { bytes, isDetached } = tty ? keys.take(typed) : { bytes: typed, isDetached: false };
    if (bytes.length > 0) input.say({ bytes: bytes.toString('base64') });
    if (isDetached) leave(TYPED);
  });
  // A terminal's end is a hang-up: others may attach after us, and type.
  process.stdin.once('end', () => (tty ? leave(HUNG_UP) : input.say({ end: true })));
  process.stdin.once('error', () => leave(HUNG_UP));
  return () => {
    process.removeListener('exit', restore);
    process.removeListener('SIGWINCH', resize);
    restore();
    process.stdin.pause();
  };
}
