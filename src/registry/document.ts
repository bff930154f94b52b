/** Small bodies: read whole, up to a limit. Host side. */

import { RegistryError } from './failure.ts';
import type { Answer } from './transport.ts';
import { explainConnection } from './unreachable.ts';

/** Throws RegistryError for a body of more than `most` bytes, or one that breaks off. */
export async function readWhole({ body, url, headers }: Answer, most: number, what: string): Promise<Buffer> {
  const tooLarge = () => new RegistryError(`${what} is larger than ${most} bytes`);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    if (Number(headers['content-length'] ?? 0) > most) throw tooLarge();
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > most) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    throw explainConnection(error, url, undefined);
  } finally {
    body.destroy();
  }
  return Buffer.concat(chunks);
}

/** Undefined where it is no JSON object. */
export function parseObject(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** A header's value; of several the first. */
export function headerOf({ headers }: Answer, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}
