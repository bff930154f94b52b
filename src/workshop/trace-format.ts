/** A trace's lines: their type, and the table that people read. Pure. */
import { straceResult } from './strace.ts';
import type { NamespaceIds } from './trace-namespaces.ts';

/** One call; a line of `trace show --format json`. */
export interface TraceLine {
  /** Who made it: the runtime, or the container's first process before it is the container's. */
  side: 'host' | 'stage';
  /** Milliseconds since the trace began, when it was told of. */
  atMs: number;
  step?: string | undefined;
  /** Calls of one frame went to the stage together. */
  frame?: number | undefined;
  name: string;
  /** As strace prints it. */
  call: string;
  /** What a program that goes to the kernel says. */
  words?: readonly string[] | undefined;
  /** -errno on failure; null where nobody waited for it. */
  result: number | null;
  /** Milliseconds: of a call of the host's its own, of one of the stage's its frame's, on the way included. */
  ms: number;
  /** Of the process that made it, those that are not the runtime's own by now: their inode numbers. */
  namespaces: NamespaceIds;
}

/** Ends with a newline. */
export function formatTrace(lines: readonly TraceLine[]): string {
  const table = new Table();
  return table.rows(lines) + table.end();
}

/** The table, part by part: no frame may be cut in two. A frame's duration stands at its last call. */
export class Table {
  private before: TraceLine | undefined;
  private calls = 0;
  private ofStage = 0;
  private frames = 0;

  rows(lines: readonly TraceLine[]): string {
    let text = this.before || lines.length === 0 ? '' : '      at ms        ms  call\n';
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i]!;
      this.count(line);
      text += heading(line, this.before) + row(line, lines[i + 1]);
      this.before = line;
    }
    return text;
  }

  private count({ side, frame }: TraceLine): void {
    this.calls++;
    if (side === 'host') return;
    this.ofStage++;
    this.frames = Math.max(this.frames, frame ?? 0);
  }

  end(): string {
    const { calls, ofStage, frames } = this;
    return `${calls} calls: ${calls - ofStage} of the host, ${ofStage} of the stage in ${frames} frames\n`;
  }
}

/** Namespaces with their numbers where they have changed. */
function heading(line: TraceLine, before: TraceLine | undefined): string {
  const same = before && (before.namespaces === line.namespaces || namesIn(before) === namesIn(line));
  if (before && before.side === line.side && before.step === line.step && same) return '';
  const { namespaces, side, step } = line;
  const shown = Object.entries(namespaces).map(([name, id]) => (same ? name : `${name}:${id || '?'}`));
  return `-- ${side === 'host' ? 'host' : `stage: ${step}`}${shown.length > 0 ? `  [${shown.join(' ')}]` : ''}\n`;
}

const namesIn = ({ namespaces }: TraceLine): string => Object.entries(namespaces).join(' ');

function row({ side, atMs, frame, call, words = [], result, ms }: TraceLine, next: TraceLine | undefined): string {
  const goesOn = side === 'stage' && next?.side === 'stage' && next.frame === frame;
  const duration = goesOn ? ' '.repeat(10) : ms.toFixed(3).padStart(10);
  const below = words.map((text) => `${' '.repeat(25)}${text}\n`).join('');
  return `${atMs.toFixed(3).padStart(11)}${duration}  ${call}${straceResult(result)}\n${below}`;
}
