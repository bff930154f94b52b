/**
 * A way to a stage that does nothing: it writes down every call of every frame and answers as a kernel might, out of a
 * world of files (world.ts). What src/core/init would do is known by letting it do it here. Needs no privileges.
 */
import type { SyscallName } from '../core/kernel/syscalls.ts';
import {
  type Arg,
  PHASE_STARTED,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  type StagePage,
  sizes,
} from '../core/stage/protocol.ts';
import { type HostFd, Stage, type Step, type Wire } from '../core/stage/stage.ts';
import { type FrameCall, FrameReader } from './frame.ts';
import { straceCall, straceResult } from './strace.ts';
import { type RecordedCall, World, type WorldFacts } from './world.ts';

const NOBODY = 1 << 30;

/** A call of the frame that came last, with what its descriptors led to when it was made. */
interface Told {
  args: readonly Arg[];
  text: string;
  /** What its result leads to, in the form that strace has. */
  made: string;
}

const makesFd = ['openat2', 'open_tree', 'fsopen', 'fsmount', 'socket'];

class RecordingWire implements Wire {
  readonly calls: RecordedCall[] = [];
  told: Told[] = [];
  readonly world: World;
  private frames = 0;
  private lastPage: StagePage = { frame: 0, call: 0, phase: 0, result: 0 };
  private received: HostFd[] = [];

  constructor(world: World) {
    this.world = world;
  }

  exchange(frame: Buffer, descriptors: readonly HostFd[]): { reply: Buffer; received: HostFd[] } | undefined {
    const [, , count, relocations, , outOffset, outLength] = Array.from({ length: 8 }, (_, i) =>
      frame.readUInt32LE(4 * i),
    );
    const data = frame.subarray(sizes.request + count! * sizes.call + relocations! * sizes.relocation);
    const fds = descriptors.map((fd) => this.world.open(`descriptor ${fd} of the host`));
    const results: number[] = [];
    const reader = new FrameReader(frame, process.arch);
    this.told = [];
    let failed = false;
    for (let at = sizes.request; results.length < count! && !failed; at += sizes.call) {
      const call = frame.subarray(at, at + sizes.call);
      const recorded = this.carryOut(reader.call(results.length, results), call, data, results);
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

  get ended(): boolean {
    return this.lastPage.phase !== 0;
  }

  private end(call: number): undefined {
    this.lastPage = { frame: this.frames + 1, call, phase: PHASE_STARTED, result: 0 };
  }

  private carryOut(told: FrameCall, call: Buffer, data: Buffer, results: readonly number[]): RecordedCall {
    const [pointers, references] = [call[6]!, call[7]!];
    const memory = new Map<number, Buffer>();
    const args = Array.from({ length: 6 }, (_, i) => {
      const value = Number(call.readBigInt64LE(8 + 8 * i));
      if (pointers & (1 << i)) memory.set(i, data.subarray(value));
      if (references & (1 << i)) return results[value]!;
      return pointers & (1 << i) ? 0 : value;
    });
    const recorded = { name: told.name, args, memory, result: 0, frame: this.frames };
    this.calls.push(recorded);
    const text = straceCall(told.name, told.args, (fd) => this.world.label(fd));
    recorded.result = this.world.answer(recorded, (fd) => this.received.push((NOBODY + fd) as HostFd));
    const made = makesFd.includes(told.name) && recorded.result >= 0 ? `<${this.world.label(recorded.result)}>` : '';
    this.told.push({ args: told.args, text, made });
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

export interface RecordedStep {
  step: Step;
  calls: (RecordedEvent | OtherCall)[];
}

/** None of the stage's: what somebody else does meanwhile, in words. */
export interface OtherCall {
  text: string;
}

export interface RecordedEvent {
  name: SyscallName;
  args: readonly Arg[];
  /** Undefined where nobody would know it. */
  result: number | undefined;
  /** As strace prints it, with what descriptors lead to. */
  text: string;
  /** The number of the frame that it goes with. */
  frame: number;
  /** That is the one that ends in execve. */
  last: boolean;
}

export interface Recording {
  stage: Stage;
  calls: readonly RecordedCall[];
  world: World;
  /** The steps in order, each with its calls; only when watched. */
  steps: RecordedStep[];
}

/** `watch`: there are steps. `alone`: by somebody who must be told of each call before the next one. */
export function recordStage(facts: WorldFacts, watch: boolean | 'alone' = true): Recording {
  const world = new World(facts);
  const wire = new RecordingWire(world);
  const stage = new Stage(wire);
  const steps: RecordedStep[] = [];
  const tell = (step: Step, name: SyscallName, result: number | undefined, told: Told, frame: number): void => {
    if (steps.at(-1)?.step.id !== step.id) steps.push({ step, calls: [] });
    const text = `${told.text}${straceResult(result)}${told.made}`;
    steps.at(-1)!.calls.push({ name, args: told.args, result, text, frame, last: wire.ended });
  };
  if (watch) {
    stage.observer = ({ step, name, result }) => tell(step, name, result, wire.told[0]!, 0);
    if (watch !== 'alone')
      stage.observer.frame = (frame, calls, results) => {
        for (const [i, result] of results.entries()) tell(calls[i]!.step, calls[i]!.name, result, wire.told[i]!, frame);
      };
  }
  return { stage, calls: wire.calls, world, steps };
}
