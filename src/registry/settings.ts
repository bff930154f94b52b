/** What a registry client takes from its surroundings, and its patience. All of it can be given by tests. Host side. */

export interface RegistrySettings {
  env: Readonly<Record<string, string | undefined>>;
  /** Names mirrors; may be missing. */
  mirrorsFile: string;
  /** From the first packet to the end of the TLS handshake. */
  connectMs: number;
  /** Without a byte of an answer, or of its body. */
  stallMs: number;
  /** Without an answer after a blob was uploaded: registries hash and move it first. */
  uploadedMs: number;
  /** Attempts of one request in all. */
  tries: number;
  /** The wait before the second attempt; doubled before each further one. */
  backoffMs: number;
  /** Whoever asks by Retry-After for a longer wait gets none: the user is told. */
  mostWaitMs: number;
  /** What the user should know although it went on. */
  warn: (text: string) => void;
}

export function defaultSettings(): RegistrySettings {
  return {
    env: process.env,
    mirrorsFile: '/etc/tinyctr/registries.json',
    connectMs: 30_000,
    stallMs: 60_000,
    uploadedMs: 300_000,
    tries: 5,
    backoffMs: 500,
    mostWaitMs: 60_000,
    warn: (text) => process.stderr.write(`tinyctr: ${text}\n`),
  };
}
