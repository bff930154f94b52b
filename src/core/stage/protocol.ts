/**
 * The frames between the host and the stage (native-shim/stage.c). Twin of native-shim/protocol.h; drawn in
 * docs/protocol.md; test/unit/core/stage/protocol.test.ts holds the twins together. Little endian. Host side.
 */

export const PROTOCOL_MAGIC = 0x54435452;
export const PROTOCOL_VERSION = 1;
export const FRAGMENT_SIZE = 65536;
export const MAX_FRAME = 8388608;
export const MAX_CALLS = 1024;
export const MAX_RELOCATIONS = 262144;
export const MAX_DESCRIPTORS = 16;
export const MAX_REPLY = 65536;
export const STAGE_SOCKET_FD = 3;
export const STAGE_PAGE_FD = 4;
export const CALL_FORKS = 1;
export const PHASE_NONE = 0;
export const PHASE_STARTED = 1;
export const PHASE_RETURNED = 2;

export const sizes = { request: 32, call: 64, relocation: 8, reply: 32, page: 24 } as const;

/** Memory that the kernel fills: `out` bytes, zeroed, or a struct that goes in and comes back changed. */
export type OutMemory = { out: number } | { inout: Uint8Array };

/** A NULL-terminated array of strings: argv and envp of execve(2). */
export type StringArray = { strings: readonly string[] };

/** A struct with pointers in it: at each offset stands the address of another piece of memory. */
export type LinkedStruct = { struct: Uint8Array; pointers: readonly { at: number; to: Memory }[] };

export type Memory = string | Uint8Array | OutMemory | StringArray | LinkedStruct;

/** The result of an earlier call of the same frame, by its index. */
export type Reference = { resultOf: number };

/** One argument of a system call: an integer, NULL, memory that travels with the frame, or a result still to come. */
export type Arg = number | bigint | null | Memory | Reference;

export interface WireCall {
  nr: number;
  args: readonly Arg[];
  /** At most two errnos that don't stop the frame. */
  tolerated: readonly number[];
  /** The call returns twice (clone3): the child serves on this descriptor of the stage. */
  serveFd?: number;
}

export interface Frame {
  bytes: Buffer;
  /** Where each out memory lies within the reply's out bytes, call by call. */
  outs: { call: number; at: number; length: number }[];
}

export interface Reply {
  version: number;
  /** The stage's pid, as it sees itself. */
  pid: number;
  failed: boolean;
  /** One a call that was carried out; the last one failed if `failed`. -errno on failure. */
  results: number[];
  /** The numbers that the descriptors sent with the frame have in the stage. */
  descriptors: number[];
  out: Buffer;
}

/** What the stage was doing, read from the shared page. */
export interface StagePage {
  /** How many frames it has begun. */
  frame: number;
  call: number;
  phase: number;
  result: number;
}

const align8 = (n: number): number => (n + 7) & ~7;

/** A string for C ends at its first NUL: one with a NUL inside would be cut short. */
function checkString(text: string): string {
  if (text.includes('\0')) throw new RangeError(`a string for the kernel contains a NUL byte: ${JSON.stringify(text)}`);
  return text;
}

/**
 * A frame being written. Words and one growing buffer instead of Buffer's write methods and many small objects: a
 * container takes some 300 calls, and this code runs cold.
 */
class FrameBuilder {
  private readonly calls: Uint32Array;
  private readonly relocations: number[] = [];
  private data = Buffer.alloc(8192);
  private length = 0;
  private readonly outs: { call: number; at: number; bytes: Uint8Array; patch: (offset: number) => void }[] = [];
  private outLength = 0;

  constructor(calls: number) {
    this.calls = new Uint32Array(calls * (sizes.call / 4));
  }

  /** Room for `size` bytes, zeroed; returns their offset. */
  private reserve(size: number): number {
    const at = this.length;
    this.length = align8(at + size);
    if (this.length > this.data.length) {
      if (this.length > MAX_FRAME) checkLimit('bytes of arguments and environment', this.length, MAX_FRAME);
      const larger = Buffer.alloc(2 * this.length);
      this.data.copy(larger);
      this.data = larger;
    }
    return at;
  }

  private addBytes(bytes: Uint8Array): number {
    const at = this.reserve(bytes.length);
    this.data.set(bytes, at);
    return at;
  }

  private addString(text: string): number {
    const at = this.reserve(Buffer.byteLength(text) + 1);
    this.data.write(checkString(text), at, 'utf8');
    return at;
  }

  /** Calls `patch` with the memory's offset: at once, or at the end for what comes back. */
  private add(memory: Memory, call: number, patch: (offset: number) => void): void {
    if (typeof memory === 'string') patch(this.addString(memory));
    else if (memory instanceof Uint8Array) patch(this.addBytes(memory));
    else if ('strings' in memory) patch(this.addStrings(memory.strings));
    else if ('struct' in memory) patch(this.addStruct(memory, call));
    else {
      const bytes = 'out' in memory ? new Uint8Array(memory.out) : memory.inout;
      this.outs.push({ call, at: this.outLength, bytes, patch });
      this.outLength = align8(this.outLength + bytes.length);
    }
  }

  private addStrings(strings: readonly string[]): number {
    const at = this.reserve(8 * (strings.length + 1));
    for (let i = 0; i < strings.length; i++) this.relocations.push(at + 8 * i, this.addString(strings[i]!));
    return at;
  }

  private addStruct(linked: LinkedStruct, call: number): number {
    const at = this.addBytes(linked.struct);
    for (const pointer of linked.pointers)
      this.add(pointer.to, call, (target) => this.relocations.push(at + pointer.at, target));
    return at;
  }

  /** struct call, in words: nr, flags and masks, six arguments of two words, tolerated errnos, serve_fd. */
  addCall(index: number, call: WireCall): void {
    checkLimit('arguments of a call', call.args.length, 6);
    checkLimit('tolerated errnos of a call', call.tolerated.length, 2);
    const words = this.calls;
    const at = index * (sizes.call / 4);
    let pointers = 0;
    let references = 0;
    for (let i = 0; i < call.args.length; i++) {
      const arg = call.args[i]!;
      const argAt = at + 2 + 2 * i;
      if (arg === null) continue;
      if (typeof arg === 'number' || typeof arg === 'bigint') writeInt64(words, arg, argAt);
      else if (typeof arg === 'object' && 'resultOf' in arg) {
        references |= 1 << i;
        writeInt64(words, arg.resultOf, argAt);
      } else {
        pointers |= 1 << i;
        this.add(arg, index, (offset) => {
          words[argAt] = offset;
        });
      }
    }
    words[at] = call.nr;
    words[at + 1] = (call.serveFd === undefined ? 0 : CALL_FORKS) | (pointers << 16) | (references << 24);
    words[at + 14] = (call.tolerated[0] ?? 0) | ((call.tolerated[1] ?? 0) << 16);
    words[at + 15] = call.serveFd ?? -1;
  }

  finish(calls: number, descriptors: number): Frame {
    const outOffset = this.length;
    for (const out of this.outs) out.patch(outOffset + out.at);
    const dataLength = outOffset + this.outLength + 8; // the last byte must be 0
    const relocations = Uint32Array.from(this.relocations);
    const head = sizes.request + this.calls.byteLength + relocations.byteLength;
    const length = head + dataLength;
    checkLimit('bytes of arguments and environment', length, MAX_FRAME);
    checkLimit('calls', calls, MAX_CALLS);
    checkLimit('strings and pointers', relocations.length / 2, MAX_RELOCATIONS);
    checkLimit('descriptors', descriptors, MAX_DESCRIPTORS);
    checkLimit('bytes to come back', sizes.reply + 8 * calls + 4 * MAX_DESCRIPTORS + this.outLength, MAX_REPLY);
    const header = Uint32Array.of(
      PROTOCOL_MAGIC,
      length,
      calls,
      relocations.length / 2,
      dataLength,
      outOffset,
      this.outLength,
      descriptors,
    );
    const bytes = Buffer.alloc(length);
    bytes.set(new Uint8Array(header.buffer), 0);
    bytes.set(new Uint8Array(this.calls.buffer), sizes.request);
    bytes.set(new Uint8Array(relocations.buffer), sizes.request + this.calls.byteLength);
    bytes.set(this.data.subarray(0, outOffset), head);
    for (const out of this.outs) bytes.set(out.bytes, head + outOffset + out.at);
    return { bytes, outs: this.outs.map((out) => ({ call: out.call, at: out.at, length: out.bytes.length })) };
  }
}

/** Throws RangeError when the frame is beyond what the stage takes. */
export function encodeFrame(calls: readonly WireCall[], descriptors: number): Frame {
  const frame = new FrameBuilder(calls.length);
  for (let i = 0; i < calls.length; i++) frame.addCall(i, calls[i]!);
  return frame.finish(calls.length, descriptors);
}

function checkLimit(what: string, found: number, most: number): void {
  if (found > most) throw new RangeError(`${found} ${what} are too many for one frame to the stage: at most ${most}`);
}

/** An integer as two words; a BigInt costs ten times as much as a number. */
function writeInt64(words: Uint32Array, value: number | bigint, at: number): void {
  if (typeof value === 'bigint') {
    words[at] = Number(BigInt.asUintN(32, value));
    words[at + 1] = Number(BigInt.asUintN(32, value >> 32n));
    return;
  }
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no integer for the kernel`); // NaN would arrive as 0: root
  const low = value >>> 0;
  words[at] = low;
  words[at + 1] = (value - low) / 2 ** 32;
}

/** V8's own reader: each of Buffer's read methods is compiled at every start, a tenth of a millisecond. */
export function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function readInt64(view: DataView, at: number): number {
  return view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

/** Throws when the lengths don't add up: then this is no reply of ours. */
export function decodeReply(bytes: Buffer): Reply {
  const view = dataView(bytes);
  const word = (at: number) => view.getUint32(at, true);
  if (bytes.length < sizes.reply || word(0) !== PROTOCOL_MAGIC || word(4) !== bytes.length)
    throw new Error(`the stage answered with ${bytes.length} bytes that are no reply`);
  const calls = word(12);
  const descriptors = word(20);
  const outLength = word(24);
  const descriptorsAt = sizes.reply + 8 * calls;
  const outAt = descriptorsAt + align8(4 * descriptors);
  if (outAt + outLength !== bytes.length)
    throw new Error(`a reply of ${bytes.length} bytes has lengths that don't add up`);
  return {
    version: word(8),
    pid: view.getInt32(28, true),
    failed: word(16) !== 0,
    results: Array.from({ length: calls }, (_, i) => readInt64(view, sizes.reply + 8 * i)),
    descriptors: Array.from({ length: descriptors }, (_, i) => view.getInt32(descriptorsAt + 4 * i, true)),
    out: bytes.subarray(outAt),
  };
}

export function decodePage(bytes: Buffer): StagePage {
  const view = dataView(bytes);
  const [frame, call, phase] = [4, 8, 12].map((at) => view.getUint32(at, true)) as [number, number, number];
  return { frame, call, phase, result: readInt64(view, 16) };
}
