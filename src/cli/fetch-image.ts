/**
 * `run` fetches an image by a `tinyctr pull` of its own: `run` is started with flags of V8's that suit no program which reads
 * what strangers send (docs/decisions.md). Host side.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import type { Globals } from './globals.ts';

/**
 * Everything that it tells goes to standard error: standard output is the container's. Sets the exit status of this process
 * and returns false when it fails; it has said why.
 */
export async function fetchImage(
  { root, logFormat }: Globals,
  name: string,
  platform: string | undefined,
  quiet: boolean,
): Promise<boolean> {
  const options = [...(platform === undefined ? [] : ['--platform', platform]), ...(quiet ? ['--quiet'] : [])];
  const words = ['--root', root, '--log-format', logFormat, 'pull', ...options, '--', name];
  const launcher = join(dirname(process.argv[1]!), '../bin/tinyctr');
  const child = spawn(launcher, words, { stdio: ['ignore', 2, 2] });
  const status = await whileForwarding(
    child,
    new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? 125));
    }),
  );
  if (status !== 0) process.exitCode = status;
  return status === 0;
}

/** A terminal's Ctrl-C reaches the child by itself; what is sent to this process alone is handed on. */
async function whileForwarding<T>(child: ChildProcess, ended: Promise<T>): Promise<T> {
  const listeners = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => {
    const listener = () => {
      if (signal !== 'SIGINT' || !process.stderr.isTTY) child.kill(signal);
    };
    process.on(signal, listener);
    return () => void process.off(signal, listener);
  });
  try {
    return await ended;
  } finally {
    for (const forget of listeners) forget();
  }
}
