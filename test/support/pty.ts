/**
 * A program at a terminal: a pair of the machine's own devpts, its end the program's controlling terminal. What a user's
 * keyboard and screen would be is `type` and `screen`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { rawSyscall, syscall } from '../../src/core/host/syscall.ts';
import * as k from '../../src/core/kernel/constants.ts';
import type { HostFd } from '../../src/core/stage/stage.ts';
import { setWindowSize } from '../../src/engine/terminal.ts';

/** Source: asm-generic/ioctls.h, asm-generic/termbits.h. */
const TCGETS = 0x5401;
const TERMIOS_SIZE = 60;

const TIMEOUT_MS = 30_000;

export interface PtyOptions {
  rows?: number;
  columns?: number;
  /** Which of 0, 1 and 2 are not the terminal, and the descriptors in their place. */
  redirect?: Partial<Record<0 | 1 | 2, number>>;
}

export class Pty {
  /** All that was written to the terminal so far. */
  screen = '';
  readonly child: ChildProcess;
  /** Resolves with the exit status (128 plus the signal's number if one ended it) when all output was read. */
  readonly ended: Promise<number>;
  /** The terminal's settings before the program started. */
  readonly settings: string;
  /** The same after its end. */
  settingsAfter = '';
  private readonly master: HostFd;
  private readonly peer: HostFd;
  private readonly stream: ReadStream;
  private readonly watchers = new Set<() => void>();

  constructor(command: readonly string[], options: PtyOptions = {}) {
    this.master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY) as HostFd;
    syscall('ioctl', [this.master, k.TIOCSPTLCK, Buffer.alloc(4)]);
    this.peer = rawSyscall('ioctl', this.master, k.TIOCGPTPEER, constants.O_RDWR | constants.O_NOCTTY) as HostFd;
    if (this.peer < 0) throw new Error(`TIOCGPTPEER: errno ${-this.peer}`);
    this.resize(options.rows ?? 24, options.columns ?? 80);
    this.settings = this.termios();
    const stdio = ([0, 1, 2] as const).map((fd) => options.redirect?.[fd] ?? this.peer);
    // setsid -c makes its standard input the controlling terminal: it has to be the terminal in any case.
    const redirections = options.redirect?.[0] === undefined ? '' : '0<&3';
    const script = `exec "$@" ${redirections}`;
    this.child = spawn('setsid', ['-c', 'sh', '-c', script, 'sh', ...command], {
      stdio: [this.peer, stdio[1], stdio[2], stdio[0]],
      env: { ...process.env, TERM: 'xterm' },
    });
    this.stream = new ReadStream(this.master);
    this.stream.on('data', (chunk: Buffer) => this.show(chunk));
    this.stream.once('end', () => this.drain());
    this.stream.on('error', () => {}); // EIO: nobody has the other end any more
    this.ended = this.waitForEnd();
  }

  private async waitForEnd(): Promise<number> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), TIMEOUT_MS);
    const status = await new Promise<number>((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('exit', (code, signal) => resolve(code ?? 128 + numberOf(signal!)));
    });
    clearTimeout(timer);
    if (this.hungUp) {
      closeSync(this.peer);
      return status;
    }
    this.settingsAfter = this.termios();
    const closed = new Promise((resolve) => this.stream.once('close', resolve));
    closeSync(this.peer);
    await closed;
    return status;
  }

  private show(bytes: Buffer): void {
    this.screen += bytes.toString('latin1');
    for (const watcher of this.watchers) watcher();
  }

  /** Node takes a closed other end for the end of the data: the rest is read here. */
  private drain(): void {
    const buffer = Buffer.alloc(65536);
    try {
      for (let length = -1; length !== 0; ) {
        length = readSync(this.master, buffer);
        this.show(buffer.subarray(0, length));
      }
    } catch {
      // EIO: all was read
    }
  }

  /** The settings as stty(1) would save them: struct termios as the kernel has it. */
  private termios(): string {
    const bytes = Buffer.alloc(TERMIOS_SIZE);
    syscall('ioctl', [this.peer, TCGETS, bytes]);
    return bytes.subarray(0, 36).toString('hex');
  }

  /** What a key press sends. */
  type(keys: string): void {
    this.stream.write(keys);
  }

  private hungUp = false;

  /** The window is closed: nobody has the master end any more. */
  hangUp(): void {
    this.hungUp = true;
    this.stream.destroy();
  }

  resize(rows: number, columns: number): void {
    setWindowSize(this.master, rows, columns);
  }

  /** Waits until the screen shows it, after what earlier calls found. Throws with the whole screen after ten seconds. */
  async shows(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const done = (finish: () => void) => {
        clearTimeout(timer);
        this.watchers.delete(look);
        finish();
      };
      const look = () => {
        const found = pattern.exec(this.screen.slice(this.seen));
        if (!found) return;
        this.seen += found.index + found[0].length;
        done(() => resolve(found));
      };
      const fail = () =>
        done(() => reject(new Error(`the screen does not show ${pattern}: ${this.screen.slice(-2000)}`)));
      const timer = setTimeout(fail, timeoutMs);
      this.watchers.add(look);
      void this.ended.then(() => look());
      look();
    });
  }

  private seen = 0;
}

function numberOf(signal: NodeJS.Signals): number {
  return { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }[signal as string] ?? 0;
}
