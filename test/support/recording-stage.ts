/**
 * A way to a stage that does nothing: it writes down every call of every frame and answers as a kernel might, out of a
 * small world of files (fake-container.ts). For tests of src/core/init without privileges.
 */
import { syscallNames, syscallNumbers } from '../../src/core/kernel/syscalls.ts';
import {
  PHASE_STARTED,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  type StagePage,
  sizes,
} from '../../src/core/stage/protocol.ts';
import { type HostFd, Stage, type Wire } from '../../src/core/stage/stage.ts';
import { FakeContainer, type FakeFile, type RecordedCall } from './fake-container.ts';
import { strace } from './strace.ts';

const names = new Map(syscallNames().map((name) => [syscallNumbers(process.arch)(name), name]));
const NOBODY = 1 << 30;

class RecordingWire implements Wire {
  readonly calls: RecordedCall[] = [];
  readonly container: FakeContainer;
  private frames = 0;
  private lastPage: StagePage = { frame: 0, call: 0, phase: 0, result: 0 };
  private received: HostFd[] = [];

  constructor(container: FakeContainer) {
    this.container = container;
  }

  exchange(frame: Buffer, descriptors: readonly HostFd[]): { reply: Buffer; received: HostFd[] } | undefined {
    const [, , count, relocations, , outOffset, outLength] = Array.from({ length: 8 }, (_, i) =>
      frame.readUInt32LE(4 * i),
    );
    const data = frame.subarray(sizes.request + count! * sizes.call + relocations! * sizes.relocation);
    const fds = descriptors.map((fd) => this.container.open(`descriptor ${fd} of the host`));
    const results: number[] = [];
    let failed = false;
    for (let at = sizes.request; results.length < count! && !failed; at += sizes.call) {
      const call = frame.subarray(at, at + sizes.call);
      const recorded = this.carryOut(call, data, results);
      if (/^execve/.test(recorded.name)) return this.end(results.length);
      results.push(recorded.result);
      const tolerated = [call.readUInt16LE(56), call.readUInt16LE(58)];
      failed = recorded.result < 0 && !tolerated.includes(-recorded.result);
    }
    this.frames++;
    const out = data.subarray(outOffset!, outOffset! + outLength!);
    return { reply: replyBytes(results, failed, fds, out), received: this.received.splice(0) };
  }

  send(frame: Buffer, descriptors: readonly HostFd[]): void {
    this.exchange(frame, descriptors);
  }

  branch(fork: (end: HostFd) => number): number {
    return fork(NOBODY as HostFd);
  }

  page(): StagePage {
    return this.lastPage;
  }

  private end(call: number): undefined {
    this.lastPage = { frame: this.frames + 1, call, phase: PHASE_STARTED, result: 0 };
  }

  private carryOut(call: Buffer, data: Buffer, results: readonly number[]): RecordedCall {
    const name = names.get(call.readUInt32LE(0)) ?? 'unknown';
    const [pointers, references] = [call[6]!, call[7]!];
    const memory = new Map<number, Buffer>();
    const args = Array.from({ length: 6 }, (_, i) => {
      const value = Number(call.readBigInt64LE(8 + 8 * i));
      if (pointers & (1 << i)) memory.set(i, data.subarray(value));
      if (references & (1 << i)) return results[value]!;
      return pointers & (1 << i) ? 0 : value;
    });
    const recorded = { name, args, memory, result: 0, frame: this.frames };
    this.calls.push(recorded);
    recorded.result = this.container.answer(recorded, (fd) => this.received.push((NOBODY + fd) as HostFd));
    return recorded;
  }
}

function replyBytes(results: readonly number[], failed: boolean, fds: readonly number[], out: Uint8Array): Buffer {
  const fdsLength = (4 * fds.length + 7) & ~7;
  const bytes = Buffer.alloc(sizes.reply + 8 * results.length + fdsLength + out.length);
  const words = [
    PROTOCOL_MAGIC,
    bytes.length,
    PROTOCOL_VERSION,
    results.length,
    Number(failed),
    fds.length,
    out.length,
    1,
  ];
  for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, 4 * i);
  for (const [i, result] of results.entries()) bytes.writeBigInt64LE(BigInt(result), sizes.reply + 8 * i);
  for (const [i, fd] of fds.entries()) bytes.writeInt32LE(fd, sizes.reply + 8 * results.length + 4 * i);
  bytes.set(out, sizes.reply + 8 * results.length + fdsLength);
  return bytes;
}

export interface Recording {
  stage: Stage;
  calls: readonly RecordedCall[];
  container: FakeContainer;
  /** In strace's form with a heading for each step; only when watched. */
  transcript(): string;
  /** The steps in order, each with the names of its calls; only when watched. */
  steps(): [id: string, names: string[]][];
}

/** `watch`: with an observer every call travels alone, and there is a transcript. */
export function recordStage(options: { watch: boolean; files?: Record<string, FakeFile>; target: string }): Recording {
  const container = new FakeContainer(options.target, options.files);
  const wire = new RecordingWire(container);
  const stage = new Stage(wire);
  const lines: string[] = [];
  const steps: [string, string[]][] = [];
  if (options.watch)
    stage.observer = ({ step, name, args, result }) => {
      if (steps.at(-1)?.[0] !== step.id) {
        steps.push([step.id, []]);
        lines.push('', `# ${step.id}`);
      }
      steps.at(-1)![1].push(name);
      lines.push(strace(name, args, result, (fd) => container.label(fd)));
    };
  const transcript = () => `${lines.slice(1).join('\n')}\n`;
  return { stage, calls: wire.calls, container, transcript, steps: () => steps };
}
