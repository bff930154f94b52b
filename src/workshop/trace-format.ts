/** A trace's lines: their type, and the table that people read. Pure. */
import { errnoName } from '../core/kernel/errno.ts';

/** One call; a line of JSON in the file of --trace. */
export interface TraceLine {
  /** Who made it: the runtime, or the container's first process before it is the container's. */
  side: 'host' | 'stage';
  /** Milliseconds since the trace began, when it was told of. */
  atMs: number;
  step?: string;
  /** Calls of one frame went to the stage together. */
  frame?: number;
  name: string;
  /** As strace prints it. */
  call: string;
  /** What a program that goes to the kernel says. */
  words?: readonly string[];
  /** -errno on failure. */
  result: number;
  /** Milliseconds: of a call of the host's its own, of one of the stage's its frame's, on the way included. */
  ms: number;
  /** Those that are not the host's by now, of the process that made it. */
  namespaces: readonly string[];
}

/** Throws Error with the number of the first line that is none of a trace. */
export function parseTrace(text: string): TraceLine[] {
  return text.split('\n').flatMap((line, i) => {
    if (line === '') return [];
    try {
      const one = JSON.parse(line) as TraceLine;
      if (typeof one.call === 'string' && typeof one.ms === 'number' && Array.isArray(one.namespaces)) return [one];
    } catch {
      // said below
    }
    throw new Error(`line ${i + 1} is no line of a trace`);
  });
}

/** Ends with a newline. A frame's duration stands at its last call. */
export function formatTrace(lines: readonly TraceLine[]): string {
  const rows = lines.flatMap((line, i) => [
    ...headings(line, lines[i - 1]),
    row(line, lines[i + 1]),
    ...(line.words ?? []).map((text) => `${' '.repeat(25)}${text}`),
  ]);
  const frames = new Set(lines.flatMap(({ frame }) => (frame === undefined ? [] : [frame]))).size;
  const stage = lines.filter(({ side }) => side === 'stage').length;
  const sum = `${lines.length} calls: ${lines.length - stage} of the host, ${stage} of the stage in ${frames} frames`;
  return `${['      at ms        ms  call', ...rows, sum].join('\n')}\n`;
}

function headings(line: TraceLine, before: TraceLine | undefined): string[] {
  const where = (one: TraceLine) => `${one.step ?? 'host'}|${one.namespaces.join(' ')}`;
  if (before && where(before) === where(line)) return [];
  const namespaces = line.namespaces.length > 0 ? `  [${line.namespaces.join(' ')}]` : '';
  return [`-- ${line.side === 'host' ? 'host' : `stage: ${line.step}`}${namespaces}`];
}

function row({ side, atMs, frame, call, result, ms }: TraceLine, next: TraceLine | undefined): string {
  const goesOn = side === 'stage' && next?.side === 'stage' && next.frame === frame;
  const end = result < 0 ? `-1 ${errnoName(-result)}` : String(result);
  return `${atMs.toFixed(3).padStart(11)}${goesOn ? ' '.repeat(10) : ms.toFixed(3).padStart(10)}  ${call} = ${end}`;
}
