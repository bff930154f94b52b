/** Brings the bytes of a stream, however they are cut into chunks, to a reader that asks for them. No copies but at the seams. */
import type { Want } from './reader.ts';

const NOTHING = Buffer.alloc(0);

export class Feed {
  readonly #reading: Generator<Want, void, Buffer>;
  #want: Want = 0;
  /** How many bytes the reader has got so far: while a sink hears of an entry, where its data begins. */
  consumed = 0;
  #done = false;
  /** The start of an exact request whose end has not come yet. */
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(reading: Generator<Want, void, Buffer>) {
    this.#reading = reading;
    const first = reading.next();
    this.#done = first.done === true;
    if (!first.done) this.#want = first.value;
  }

  /** Throws what the reader or its sink throws. Bytes after the archive's end are passed over. */
  write(chunk: Buffer): void {
    let at = 0;
    while (!this.#done && at < chunk.length) {
      const missing = this.#want < 0 ? -this.#want : this.#want - this.#heldBytes;
      const part = chunk.subarray(at, at + missing);
      at += part.length;
      if (this.#want > 0 && part.length < missing) this.#hold(part);
      else this.#give(this.#heldBytes === 0 ? part : Buffer.concat([...this.#held, part]));
    }
  }

  /** The stream has ended: a reader in the middle of something gets less than it asked for, and complains. */
  end(): void {
    while (!this.#done) this.#give(this.#heldBytes === 0 ? NOTHING : Buffer.concat(this.#held));
  }

  #hold(part: Buffer): void {
    this.#held.push(Buffer.from(part));
    this.#heldBytes += part.length;
  }

  #give(bytes: Buffer): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.consumed += bytes.length;
    const step = this.#reading.next(bytes);
    this.#done = step.done === true;
    if (!step.done) this.#want = step.value;
  }
}
