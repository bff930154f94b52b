/** Lines of a stream. */
import type { Readable } from 'node:stream';

/** More in one line is nobody's who means well. */
const LONGEST = 4 << 20;

/** Each without its line feed; what comes after the last one is dropped. Throws what the stream fails with. */
export async function* readLines(stream: Readable): AsyncGenerator<string> {
  let rest = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    if (rest.length > LONGEST) throw new Error('a line of more than 4 MiB');
    yield* lines;
  }
}
