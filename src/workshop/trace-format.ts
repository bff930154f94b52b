/** A trace's lines: their type, and the table that people read. Pure. */
import { straceResult } from './strace.ts';
import type { NamespaceIds } from './trace-namespaces.ts';

/** One call; a line of JSON in the file of --trace. */
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

/** Lines of JSON, ending with a newline. Put together by hand: what calls share is made once. */
export class JsonLines {
  private readonly namespaces = new Map<NamespaceIds, string>();
  private step = '';
  private of = '';

  rows(lines: readonly TraceLine[]): string {
    let text = '';
    for (let i = 0; i < lines.length; i++) {
      const { side, atMs, step = '', frame, name, call, words, result, ms, namespaces } = lines[i]!;
      if (step !== this.step) this.setStep(step);
      const place = frame === undefined ? '' : `${this.of}${frame},`;
      const others = this.namespaces.get(namespaces) ?? this.setNamespaces(namespaces);
      const said = words === undefined ? '' : `"words":${JSON.stringify(words)},`;
      text += `{"side":"${side}","atMs":${atMs},${place}"name":"${name}","call":${JSON.stringify(call)},${said}"result":${result},"ms":${ms},"namespaces":${others}}\n`;
    }
    return text;
  }

  private setStep(step: string): void {
    this.step = step;
    this.of = `"step":${JSON.stringify(step)},"frame":`;
  }

  private setNamespaces(namespaces: NamespaceIds): string {
    const text = JSON.stringify(namespaces);
    this.namespaces.set(namespaces, text);
    return text;
  }

  end(): string {
    return '';
  }
}

/** Throws Error with the number of the first line that is none of a trace. */
export function parseTrace(text: string): TraceLine[] {
  return text.split('\n').flatMap((line, i) => {
    if (line === '') return [];
    try {
      const one = JSON.parse(line) as TraceLine;
      if (typeof one.call === 'string' && typeof one.ms === 'number' && typeof one.namespaces === 'object')
        return [one];
    } catch {
      // said below
    }
    throw new Error(`line ${i + 1} is no line of a trace`);
  });
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
    let text = this.before ? '' : '      at ms        ms  call\n';
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
