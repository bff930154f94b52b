/** A trace's records (trace.ts) in words: one line a call, as strace would say it. Pure. */
import { callsOf } from './frame.ts';
import { type HostArgs, hostCall } from './host-calls.ts';
import { type FileArg, fileCall } from './host-files.ts';
import { straceCall } from './strace.ts';
import type { TraceLine } from './trace-format.ts';
import { type NamespaceIds, namespaceFlags } from './trace-namespaces.ts';

/** That trace.ts writes; another one is refused. */
const FORMAT = 2;
/** No memory of which a record keeps only the length is longer. */
const LONGEST = 1 << 30;

interface TraceRecord {
  /** A function of native-shim, or of node:fs, with its arguments. */
  host?: string;
  node?: string;
  args: unknown[];
  /** The number of a frame; `calls` is the frame. */
  frame?: number;
  steps: [id: string, calls: number][];
  results: (number | null)[];
  calls: string;
  /** Microseconds since the trace began, and how long it took. */
  at: number;
  took: number;
  result: number;
  /** After it, of those that it may have changed; null is one that is the runtime's too. */
  namespaces?: Record<string, number | null>;
}

/** The runtime's own. */
const none: NamespaceIds = {};

/** Reads records as they come. Throws Error, whose message says what is wrong with this trace. */
export class TraceReader {
  private arch = '';
  private others: NamespaceIds = none;
  private line = 0;

  /** `text` is whole lines. */
  read(text: string): TraceLine[] {
    const lines: TraceLine[] = [];
    for (const record of text.split('\n')) {
      if (record === '') continue;
      this.line++;
      if (this.line === 1) this.begin(record);
      else lines.push(...this.told(record));
    }
    return lines;
  }

  private begin(text: string): void {
    const head = parsed(text);
    if (typeof head?.side === 'string' && typeof head?.call === 'string')
      throw new Error('an older tinyctr has written it, with the words in it: that one shows it, or jq .call');
    if (head?.trace !== 'tinyctr') throw new Error('it is no trace of tinyctr’s');
    if (head.format !== FORMAT)
      throw new Error(`it is of format ${head.format}, which another tinyctr has written; this one reads ${FORMAT}`);
    this.arch = String(head.arch);
  }

  private told(text: string): TraceLine[] {
    try {
      const record = JSON.parse(text) as TraceRecord;
      if (record.frame !== undefined) return this.stage(record, record.frame);
      if (record.host !== undefined) return [this.host(record, record.host)];
      const call = fileCall(record.node!, record.args as FileArg[]);
      if (!call) throw new Error(`no function ${record.node} is known`);
      return [{ ...common('host', record), ...call, result: numeric(record.result), namespaces: none }];
    } catch (error) {
      throw new Error(`line ${this.line} is no record of a trace`, { cause: error });
    }
  }

  private host(record: TraceRecord, funcName: string): TraceLine {
    const { name, call, words } = hostCall(funcName, record.args.map(hostArg) as unknown as HostArgs, this.arch);
    if (record.namespaces) this.others = merged(none, record.namespaces);
    const said = words ? { words } : {};
    return { ...common('host', record), name, call, ...said, result: numeric(record.result), namespaces: none };
  }

  private stage(record: TraceRecord, frame: number): TraceLine[] {
    const { steps, results, namespaces = {} } = record;
    const stepOf = steps.flatMap(([id, calls]) => Array<string>(calls).fill(id));
    const calls = callsOf(Buffer.from(record.calls, 'base64'), results, this.arch);
    const changes = calls.map(({ name, args }, i) => changedBy(name, args, results[i]!, Object.keys(namespaces)));
    return calls.map(({ name, args }, i) => {
      for (const type of changes[i]!) {
        const isLast = !changes.slice(i + 1).some((types) => types.includes(type));
        this.others = merged(this.others, { [type]: isLast ? namespaces[type]! : 0 }); // nobody looked in between
      }
      const result = results[i]!;
      const [call, step] = [straceCall(name, args), stepOf[i]!];
      return { ...common('stage', record), step, frame, name, call, result, namespaces: this.others };
    });
  }
}

/** A whole trace, as it lies in a file. `cut`: its last record is not whole, and left away. Throws Error as above. */
export function readTrace(text: string): { lines: TraceLine[]; cut: boolean } {
  const end = text.lastIndexOf('\n') + 1;
  if (end === 0) throw new Error('it is no trace of tinyctr’s');
  return { lines: new TraceReader().read(text.slice(0, end)), cut: end < text.length };
}

const numeric = (value: unknown): number => {
  if (typeof value !== 'number') throw new Error(`${value} is no number`);
  return value;
};

const common = <Side extends TraceLine['side']>(side: Side, { at, took }: TraceRecord) => ({
  side,
  atMs: numeric(at) / 1000,
  ms: numeric(took) / 1000,
});

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Names of the namespaces that the process is in another one of after this call. */
function changedBy(name: string, args: readonly unknown[], result: number | null, looked: readonly string[]): string[] {
  if (result !== null && result < 0) return [];
  if (name === 'clone3') return [...looked];
  const flags = name === 'unshare' ? Number(args[0]) : name === 'setns' ? Number(args[1]) : 0;
  return namespaceFlags.flatMap(([type, flag]) => (flags & flag && looked.includes(type) ? [type] : []));
}

/** In the order of namespaces(7)'s flags. */
function merged(before: NamespaceIds, changes: Record<string, number | null>): NamespaceIds {
  const all: Record<string, number | null> = { ...before, ...changes };
  return Object.fromEntries(
    namespaceFlags.flatMap(([name]) => (typeof all[name] === 'number' ? [[name, all[name]] as const] : [])),
  );
}

function hostArg(arg: unknown): unknown {
  if (typeof arg !== 'object' || arg === null || Array.isArray(arg)) return arg;
  if ('base64' in arg) return new Uint8Array(Buffer.from(String(arg.base64), 'base64'));
  if ('numbers' in arg) return Int32Array.from(arg.numbers as number[]);
  return { byteLength: Math.min(numeric((arg as { length: number }).length), LONGEST) };
}
