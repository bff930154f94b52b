/**
 * What a client and the supervisor say to each other: lines of JSON on a Unix socket in the run root. The supervisor begins
 * with a Hello; then comes one Request, and Replies up to `done` or `error`; while the answer is out, Words may follow. Types only.
 */

/** Raised with every change that an older other end would misunderstand. */
export const PROTOCOL = 1;
export const SOCKET_NAME = '.supervisor.sock';
export const LOG_NAME = '.supervisor.log';

export interface Hello {
  protocol: number;
  pid: number;
  keeperPid: number;
}

/** `root`: where images and containers are; ids are whole. */
export type Request =
  | { op: 'start'; root: string; id: string }
  /** `remove`: the client removes it then, so that its end need not be written down. */
  | { op: 'stop'; root: string; id: string; signal?: number; timeoutS?: number; remove?: true }
  | { op: 'kill'; root: string; id: string; signal: number }
  | { op: 'wait'; root: string; id: string }
  | { op: 'input'; root: string; id: string };

/** What follows `input`: bytes for the container's standard input as base64, its terminal's size, the end of the input. */
export interface Word {
  bytes?: string;
  size?: { rows: number; columns: number };
  end?: true;
}

export type Reply =
  /** `exitCode` after `wait`. `forced`: stop had to kill. */
  | { done: { exitCode?: number; forced?: true; restarting?: true } }
  /** `ready`: input may come. */
  | { ready: true }
  | { error: { message: string; hint?: string; exitCode: number } };
