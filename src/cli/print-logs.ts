/** What `tinyctr logs` was asked for, and the printing of it. */
import { writeSync } from 'node:fs';
import { follow } from '../engine/follow.ts';
import { type LogPiece, LogReader } from '../engine/logs.ts';
import { parseWhole } from '../engine/sizes.ts';
import { UsageError } from '../engine/usage-error.ts';
import { parseMoment } from '../image/moment.ts';
import { listStates } from '../lifecycle/state.ts';
import { begin } from '../supervisor/client.ts';
import type { Globals } from './globals.ts';

export interface LogWish {
  follow: boolean;
  /** Undefined: all. */
  tail: number | undefined;
  /** RFC 3339, UTC, nine digits of the second: they compare as strings. */
  since: string | undefined;
  until: string | undefined;
  timestamps: boolean;
}

/** @throws UsageError */
export function logWish(
  given: { follow?: true; tail: string; since?: string; until?: string; timestamps?: true },
  nowMs: number,
): LogWish {
  return {
    follow: given.follow === true,
    tail: given.tail === 'all' ? undefined : parseWhole('--tail', given.tail, 0, Number.MAX_SAFE_INTEGER),
    since: given.since === undefined ? undefined : moment('--since', given.since, nowMs),
    until: given.until === undefined ? undefined : moment('--until', given.until, nowMs),
    timestamps: given.timestamps === true,
  };
}

/** As the log has it. A date's digits beyond milliseconds stay. @throws UsageError */
function moment(option: string, text: string, nowMs: number): string {
  const ms = parseMoment(text, nowMs);
  if (ms === undefined)
    throw new UsageError(
      `${option} '${text}' is no time: give 2026-01-31T12:00:00Z, seconds since 1970, or 10m for ten minutes ago`,
    );
  const fraction = /T.*\.(\d{4,9})/.exec(text)?.[1];
  return new Date(ms)
    .toISOString()
    .replace(/\.(\d+)Z/, (_, digits: string) => `.${(fraction ?? digits).padEnd(9, '0')}Z`);
}

export async function printLogs({ root, runRoot }: Globals, id: string, wish: LogWish): Promise<void> {
  const folder = `${root}/containers/${id}`;
  const printer = new Printer(wish);
  const runs = listStates(runRoot).includes(id);
  if (wish.follow && runs) {
    const waiting = await begin(runRoot, { op: 'wait', root, id });
    await follow(new LogReader(folder), waiting.done, (piece) => printer.take(piece), {
      caughtUp: () => printer.flush(),
    });
    return;
  }
  const reader = new LogReader(folder);
  for (const piece of reader.read()) printer.take(piece);
  reader.close();
  printer.flush();
}

/** Lines in the order they were written. Only the last `tail` lines are held back, until `flush`. */
class Printer {
  private readonly wish: LogWish;
  private held: LogPiece[] = [];
  private heldLines = 0;
  private isHolding: boolean;
  /** By stream: its last piece did not end a line. */
  private readonly isOpen = { stdout: false, stderr: false };

  constructor(wish: LogWish) {
    this.wish = wish;
    this.isHolding = wish.tail !== undefined;
  }

  take(piece: LogPiece): void {
    const { since, until, tail } = this.wish;
    if ((since !== undefined && piece.time < since) || (until !== undefined && piece.time > until)) return;
    if (this.isHolding) this.hold(piece, tail!);
    else this.print(piece);
  }

  private hold(piece: LogPiece, tail: number): void {
    this.held.push(piece);
    if (endsLine(piece)) this.heldLines++;
    while (this.heldLines > tail) if (endsLine(this.held.shift()!)) this.heldLines--;
  }

  flush(): void {
    this.isHolding = false;
    for (const piece of this.held) this.print(piece);
    this.held = [];
  }

  private print(piece: LogPiece): void {
    const { bytes, stream, time } = piece;
    const stamp = this.wish.timestamps && !this.isOpen[stream] ? [Buffer.from(`${time} `)] : [];
    this.isOpen[stream] = !endsLine(piece);
    writeAll(stream === 'stdout' ? 1 : 2, Buffer.concat([...stamp, bytes]));
  }
}

const endsLine = ({ bytes }: LogPiece): boolean => bytes.at(-1) === 10;

function writeAll(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}
