/** A running container at this terminal: what it writes, what is typed, and the keys that leave it. */
import { writeSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { readRecord } from '../engine/containers.ts';
import { DetachKeys } from '../engine/detach-keys.ts';
import { follow } from '../engine/follow.ts';
import { containerEvent, tell } from '../engine/journal.ts';
import { LogReader } from '../engine/logs.ts';
import { readStored } from '../engine/stored-file.ts';
import { isTerminal, makeRaw, windowSize } from '../engine/terminal.ts';
import { type Answer, begin } from '../supervisor/client.ts';
import type { Globals } from './globals.ts';

interface AttachWish {
  input: boolean;
  keys: string | undefined;
  /** Starts it, once its output is listened to. */
  before?: () => Promise<unknown>;
}

/** Returns its exit status, or 0 when the keys were typed. */
export async function attach({ root, runRoot }: Globals, id: string, wish: AttachWish): Promise<number> {
  const stored = readStored(root, id);
  if (stored.log.driver === 'none')
    throw new ContainerError(`container ${id.slice(0, 12)} can't be attached to: it was made with --log-driver none`);
  const keys = new DetachKeys(wish.keys ?? 'ctrl-p,ctrl-q');
  let leave = () => {};
  const left = new Promise<undefined>((resolve) => {
    leave = () => resolve(undefined);
  });
  const reader = new LogReader(`${root}/containers/${id}`);
  reader.skip();
  await wish.before?.();
  const waiting = await begin(runRoot, { op: 'wait', root, id });
  const ended = Promise.race([waiting.done, left]);
  const record = readRecord(root, id);
  if (record) tell(root, [containerEvent(record, 'attach')]);
  let input: Answer | undefined;
  let release: (() => void) | undefined;
  try {
    if (wish.input && stored.interactive) {
      input = await begin(runRoot, { op: 'input', root, id });
      release = await passInput(input, stored.tty, keys, leave);
    }
    await follow(reader, ended, ({ bytes, stream }) => writeAll(stream === 'stdout' ? 1 : 2, bytes));
    const done = await ended;
    if (done === undefined && record) tell(root, [containerEvent(record, 'detach')]);
    if (done === undefined) process.stderr.write('\r\nread escape sequence: the container goes on\r\n');
    return done?.exitCode ?? 0;
  } finally {
    release?.();
    waiting.leave();
    input?.leave();
  }
}

/** Returns what gives the terminal back. */
async function passInput(input: Answer, tty: boolean, keys: DetachKeys, leave: () => void): Promise<() => void> {
  input.done.catch(() => undefined); // it ends with the container
  await Promise.race([input.ready, input.done]);
  const raw = tty && isTerminal(0);
  const restore = raw ? makeRaw(0 as HostFd) : () => {};
  process.once('exit', restore);
  const resize = () => input.say({ size: windowSize(1 as HostFd) });
  if (raw) {
    resize();
    process.on('SIGWINCH', resize);
  }
  process.stdin.on('data', (typed: Buffer) => {
    const { bytes, isDetached } = raw ? keys.take(typed) : { bytes: typed, isDetached: false };
    if (bytes.length > 0) input.say({ bytes: bytes.toString('base64') });
    if (isDetached) leave();
  });
  process.stdin.once('end', () => input.say({ end: true }));
  return () => {
    process.removeListener('exit', restore);
    process.removeListener('SIGWINCH', resize);
    restore();
    process.stdin.pause();
  };
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}
