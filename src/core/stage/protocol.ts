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
  call: number;
  phase: number;
  result: number;
}

const align8 = (n: number): number => (n + 7) & ~7;

/** Collects the data of a frame: memory goes in one after another, what comes back at the end. */
class DataBuilder {
  readonly pieces: { at: number; bytes: Uint8Array }[] = [];
  readonly relocations: [at: number, target: number][] = [];
  readonly outs: { call: number; bytes: Uint8Array; at: number }[] = [];
  readonly pending: ((outBase: number) => void)[] = [];
  length = 0;
  outLength = 0;

  private place(bytes: Uint8Array): number {
    const at = this.length;
    this.pieces.push({ at, bytes });
    this.length = align8(at + bytes.length);
    return at;
  }

  /** Calls `resolved` with the memory's offset once it is known. */
  add(memory: Memory, call: number, resolved: (offset: number) => void): void {
    if (typeof memory === 'string') resolved(this.place(cString(memory)));
    else if (memory instanceof Uint8Array) resolved(this.place(memory));
    else if ('strings' in memory) resolved(this.addStrings(memory.strings, call));
    else if ('struct' in memory) resolved(this.addStruct(memory, call));
    else this.addOut('out' in memory ? new Uint8Array(memory.out) : memory.inout, call, resolved);
  }

  private addStrings(strings: readonly string[], call: number): number {
    const at = this.place(new Uint8Array(8 * (strings.length + 1)));
    for (const [i, text] of strings.entries())
      this.add(text, call, (target) => this.relocations.push([at + 8 * i, target]));
    return at;
  }

  private addStruct(linked: LinkedStruct, call: number): number {
    const at = this.place(linked.struct);
    for (const pointer of linked.pointers)
      this.add(pointer.to, call, (target) => this.relocations.push([at + pointer.at, target]));
    return at;
  }

  private addOut(bytes: Uint8Array, call: number, resolved: (offset: number) => void): void {
    const at = this.outLength;
    this.outs.push({ call, bytes, at });
    this.outLength = align8(at + bytes.length);
    this.pending.push((outBase) => resolved(outBase + at));
  }
}

/** A string as C wants it. Throws for one with a NUL inside, which C would cut short. */
export function cString(text: string): Buffer {
  if (text.includes('\0')) throw new RangeError(`a string for the kernel contains a NUL byte: ${JSON.stringify(text)}`);
  return Buffer.from(`${text}\0`);
}

/** Throws RangeError when the frame is beyond what the stage takes. */
export function encodeFrame(calls: readonly WireCall[], descriptors: number): Frame {
  const data = new DataBuilder();
  const callBytes = Buffer.alloc(calls.length * sizes.call);
  for (const [index, call] of calls.entries()) encodeCall(callBytes, index, call, data);
  const outOffset = data.length;
  for (const resolve of data.pending) resolve(outOffset);
  const dataLength = outOffset + data.outLength + 8; // the last byte must be 0
  const head = sizes.request + callBytes.length + data.relocations.length * sizes.relocation;
  const length = head + dataLength;
  checkLimit('bytes of arguments and environment', length, MAX_FRAME);
  checkLimit('calls', calls.length, MAX_CALLS);
  checkLimit('strings and pointers', data.relocations.length, MAX_RELOCATIONS);
  checkLimit('descriptors', descriptors, MAX_DESCRIPTORS);
  const reply = sizes.reply + 8 * calls.length + 4 * MAX_DESCRIPTORS + data.outLength;
  checkLimit('bytes to come back', reply, MAX_REPLY);
  const bytes = Buffer.alloc(length);
  const header = [
    PROTOCOL_MAGIC,
    length,
    calls.length,
    data.relocations.length,
    dataLength,
    outOffset,
    data.outLength,
    descriptors,
  ];
  for (const [i, value] of header.entries()) bytes.writeUInt32LE(value, 4 * i);
  callBytes.copy(bytes, sizes.request);
  encodeRelocations(bytes, sizes.request + callBytes.length, data.relocations);
  for (const piece of data.pieces) bytes.set(piece.bytes, head + piece.at);
  for (const out of data.outs) bytes.set(out.bytes, head + outOffset + out.at);
  return { bytes, outs: data.outs.map((out) => ({ call: out.call, at: out.at, length: out.bytes.length })) };
}

function checkLimit(what: string, found: number, most: number): void {
  if (found > most) throw new RangeError(`${found} ${what} are too many for one frame to the stage: at most ${most}`);
}

function encodeCall(bytes: Buffer, index: number, call: WireCall, data: DataBuilder): void {
  checkLimit('arguments of a call', call.args.length, 6);
  checkLimit('tolerated errnos of a call', call.tolerated.length, 2);
  const at = index * sizes.call;
  let pointers = 0;
  let references = 0;
  for (const [i, arg] of call.args.entries()) {
    const argAt = at + 8 + 8 * i;
    if (arg === null) continue;
    if (typeof arg === 'number') writeInt64(bytes, arg, argAt);
    else if (typeof arg === 'bigint') bytes.writeBigInt64LE(BigInt.asIntN(64, arg), argAt);
    else if (typeof arg === 'object' && 'resultOf' in arg) {
      references |= 1 << i;
      bytes.writeUInt32LE(arg.resultOf, argAt);
    } else {
      pointers |= 1 << i;
      data.add(arg, index, (offset) => bytes.writeUInt32LE(offset, argAt));
    }
  }
  bytes.writeUInt32LE(call.nr, at);
  bytes.writeUInt16LE(call.serveFd === undefined ? 0 : CALL_FORKS, at + 4);
  bytes.writeUInt8(pointers, at + 6);
  bytes.writeUInt8(references, at + 7);
  bytes.writeUInt16LE(call.tolerated[0] ?? 0, at + 56);
  bytes.writeUInt16LE(call.tolerated[1] ?? 0, at + 58);
  bytes.writeInt32LE(call.serveFd ?? -1, at + 60);
}

/** A safe integer as 64 bits; a BigInt would cost ten times as much. */
function writeInt64(bytes: Buffer, value: number, at: number): void {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no integer for the kernel`); // NaN would arrive as 0: root
  const low = value >>> 0;
  bytes.writeUInt32LE(low, at);
  bytes.writeInt32LE((value - low) / 2 ** 32, at + 4);
}

function encodeRelocations(bytes: Buffer, start: number, relocations: readonly [number, number][]): void {
  for (const [i, [at, target]] of relocations.entries()) {
    bytes.writeUInt32LE(at, start + 8 * i);
    bytes.writeUInt32LE(target, start + 8 * i + 4);
  }
}

/** Throws when the lengths don't add up: then this is no reply of ours. */
export function decodeReply(bytes: Buffer): Reply {
  if (bytes.length < sizes.reply || bytes.readUInt32LE(0) !== PROTOCOL_MAGIC || bytes.readUInt32LE(4) !== bytes.length)
    throw new Error(`the stage answered with ${bytes.length} bytes that are no reply`);
  const [version, calls, failed, descriptors, outLength] = [8, 12, 16, 20, 24].map((at) => bytes.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const descriptorsAt = sizes.reply + 8 * calls;
  const outAt = descriptorsAt + align8(4 * descriptors);
  if (outAt + outLength !== bytes.length)
    throw new Error(`a reply of ${bytes.length} bytes has lengths that don't add up`);
  return {
    version,
    pid: bytes.readInt32LE(28),
    failed: failed !== 0,
    results: Array.from({ length: calls }, (_, i) => Number(bytes.readBigInt64LE(sizes.reply + 8 * i))),
    descriptors: Array.from({ length: descriptors }, (_, i) => bytes.readInt32LE(descriptorsAt + 4 * i)),
    out: bytes.subarray(outAt),
  };
}

export function decodePage(bytes: Buffer): StagePage {
  return { call: bytes.readUInt32LE(8), phase: bytes.readUInt32LE(12), result: Number(bytes.readBigInt64LE(16)) };
}
