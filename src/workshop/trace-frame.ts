/** The last frame as a trace keeps it. Pure. */
import { dataView, sizes } from '../core/stage/protocol.ts';

/** Word of struct call that says which arguments are pointers: bits 16 to 23. */
const POINTERS = 4;
const ARGUMENTS = 8;

/** A copy in which the environment's strings are blank: they may hold secrets. The last call must be execve or execveat, whose envp is its last pointer. */
export function withoutEnvironment(frame: Buffer): Buffer {
  const view = dataView(frame);
  const word = (at: number) => view.getUint32(at, true);
  const [calls, relocations, out] = [word(8), word(12), word(20)];
  const call = sizes.request + (calls - 1) * sizes.call;
  const pointers = (word(call + POINTERS) >>> 16) & 0xff;
  const envp = word(call + ARGUMENTS + 8 * (31 - Math.clz32(pointers)));
  const copy = Buffer.from(frame);
  const table = sizes.request + calls * sizes.call;
  const data = table + relocations * sizes.relocation;
  for (let i = 0; i < relocations; i++)
    if (word(table + i * sizes.relocation) === envp) {
      copy.fill(0, data + word(table + i * sizes.relocation + 4), data + out);
      break;
    }
  return copy;
}
