/** What `tinyctr logs` was asked for, and the printing of it. */
import { follow } from '../engine/follow.ts';
import { type LogPiece, LogReader } from '../engine/logs.ts';
import { parseWhole } from '../engine/sizes.ts';
import { UsageError } from '../engine/usage-error.ts';
import { parseMoment } from '../image/moment.ts';
import { listStates } from '../lifecycle/state.ts';
import { begin } from '../supervisor/client.ts';
import type { Globals } from './globals.ts';
import { writeAll } from './write-all.ts';

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
    tail: ['all', '-1'].includes(given.tail) ? undefined : parseWhole('--tail', given.tail, 0, Number.MAX_SAFE_INTEGER),
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
  const reader = new LogReader(`${root}/containers/${id}`);
  const printer = new Printer(wish);
  const isOver = wish.until !== undefined && Date.parse(wish.until) <= Date.now();
  if (wish.follow && !isOver && listStates(runRoot).includes(id)) {
    const waiting = await begin(runRoot, { op: 'wait', root, id });
    const ended = wish.until === undefined ? waiting.done : Promise.race([waiting.done, moments(wish.until)]);
    await follow(reader, ended, (piece) => printer.take(piece), { caughtUp: () => printer.flush() });
    waiting.leave();
  } else {
    for (const piece of reader.read()) printer.take(piece);
    reader.close();
    printer.flush();
  }
  const { damaged } = reader;
  if (damaged > 0)
    process.stderr.write(
      `tinyctr: ${damaged === 1 ? 'one damaged line of the log is' : `${damaged} damaged lines of the log are`} left out\n`,
    );
}

/** Resolves then. */
const moments = (time: string): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, Math.min(Date.parse(time) - Date.now(), LONGEST_TIMER_MS)).unref());

/** setTimeout takes no more: 24 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A piece and the number of its line. */
interface Held {
  piece: LogPiece;
  line: number;
}

/** Lines in the order they were written. Only the last `tail` lines are held back, until `flush`. */
class Printer {
  private readonly wish: LogWish;
  private held: Held[] = [];
  private isHolding: boolean;
  private lines = 0;
  /** By stream: the line that its last piece did not end. */
  private readonly open: Partial<Record<LogPiece['stream'], number>> = {};

  constructor(wish: LogWish) {
    this.wish = wish;
    this.isHolding = wish.tail !== undefined;
  }

  take(piece: LogPiece): void {
    const { since, until, tail } = this.wish;
    if ((since !== undefined && piece.time < since) || (until !== undefined && piece.time > until)) return;
    const before = this.open[piece.stream];
    const line = before ?? ++this.lines;
    if (piece.bytes.at(-1) === 10) delete this.open[piece.stream];
    else this.open[piece.stream] = line;
    if (this.isHolding) this.hold({ piece, line }, tail!);
    else this.print(piece, before === undefined);
  }

  /** A line without an end is one as well. */
  private hold(held: Held, tail: number): void {
    this.held.push(held);
    while (this.held.length > 0 && this.isOld(this.held[0]!, tail)) this.held.shift();
  }

  private isOld({ line }: Held, tail: number): boolean {
    return line <= this.lines - tail;
  }

  flush(): void {
    this.isHolding = false;
    const seen = new Set<number>();
    for (const held of this.held) {
      if (this.isOld(held, this.wish.tail!)) continue; // the end of a line whose beginning is dropped
      this.print(held.piece, !seen.has(held.line));
      seen.add(held.line);
    }
    this.held = [];
  }

  private print({ bytes, stream, time }: LogPiece, isFirst: boolean): void {
    const stamp = this.wish.timestamps && isFirst ? [Buffer.from(`${time} `)] : [];
    writeAll(stream === 'stdout' ? 1 : 2, Buffer.concat([...stamp, bytes]));
  }
}
