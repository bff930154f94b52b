/** Where a line of TypeScript is in a bundle, and the other way round, as a debugger finds it. Source: ECMA-426. */
import { readFileSync } from 'node:fs';

interface Mapping {
  /** From 0, as the inspector counts. */
  line: number;
  column: number;
  source: string;
  /** From 1, as editors count. */
  sourceLine: number;
}

const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Base 64 VLQ: five bits a digit, the sixth says that more follow; the lowest bit of the number is its sign. */
function numbers(segment: string): number[] {
  const found: number[] = [];
  let [value, shift] = [0, 0];
  for (const digit of segment) {
    const bits = digits.indexOf(digit);
    value += (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    found.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return found;
}

export class SourceMap {
  private readonly mappings: Mapping[] = [];

  /** Of a bundle that names its map at its end. */
  constructor(bundle: string) {
    const name = /\/\/# sourceMappingURL=(\S+)\s*$/.exec(readFileSync(bundle, 'utf8'))![1]!;
    const map = JSON.parse(readFileSync(new URL(name, `file://${bundle}`), 'utf8'));
    const sources: string[] = map.sources.map((path: string) => new URL(path, `file://${bundle}`).pathname);
    let [source, sourceLine] = [0, 0];
    for (const [line, segments] of map.mappings.split(';').entries()) {
      let column = 0;
      for (const segment of segments.split(',')) {
        const [right, toSource, down] = numbers(segment);
        column += right ?? 0;
        if (toSource === undefined) continue;
        source += toSource;
        sourceLine += down!;
        this.mappings.push({ line, column, source: sources[source]!, sourceLine: sourceLine + 1 });
      }
    }
  }

  /** Where a line of a source begins in the bundle; undefined if nothing is left of it. */
  position(source: string, sourceLine: number): { lineNumber: number; columnNumber: number } | undefined {
    const first = this.mappings.find((mapping) => mapping.source === source && mapping.sourceLine === sourceLine);
    return first && { lineNumber: first.line, columnNumber: first.column };
  }

  /** What a place in the bundle was made of. */
  origin(lineNumber: number, columnNumber: number): { source: string; line: number } {
    const { source, sourceLine } = this.mappings.findLast(
      ({ line, column }) => line === lineNumber && column <= columnNumber,
    )!;
    return { source, line: sourceLine };
  }
}
