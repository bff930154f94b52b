/** The keys that leave a container running, as docker's --detach-keys. Pure. */
import { UsageError } from './usage-error.ts';

export const DETACH_KEYS = 'ctrl-p,ctrl-q';

/** `ctrl-p,ctrl-q`: each a character, or ctrl- and one of a-z @ [ \ ] ^ _. @throws UsageError */
export function parseKeys(text: string): number[] {
  return text.split(',').map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    if (key.length === 1 && key.charCodeAt(0) < 0x80) return key.charCodeAt(0);
    throw new UsageError(
      `--detach-keys '${text}': '${key}' is no key: give a character or ctrl-a to ctrl-z, with commas between`,
    );
  });
}

/** Looks for the keys in what is typed. A beginning of them is held back until it is clear what it is. */
export class DetachKeys {
  private readonly keys: readonly number[];
  private seen = 0;

  /** @throws UsageError */
  constructor(text: string) {
    this.keys = parseKeys(text);
  }

  /** What is to be passed on; `isDetached`: the keys were typed, what came after them is dropped. */
  take(typed: Uint8Array): { bytes: Buffer; isDetached: boolean } {
    const out: number[] = [];
    for (const byte of typed) {
      if (byte !== this.keys[this.seen]) {
        out.push(...this.keys.slice(0, this.seen));
        this.seen = 0;
      }
      if (byte === this.keys[this.seen]) this.seen++;
      else out.push(byte);
      if (this.seen === this.keys.length) return { bytes: Buffer.from(out), isDetached: true };
    }
    return { bytes: Buffer.from(out), isDetached: false };
  }
}
