import type { Observer } from '../core/stage/stage.ts';

/** The options that stand before the verb, as runc has them. */
export interface Globals {
  /** Where the state of containers is: /run/tinyctr-oci. */
  root: string;
  /** A file that errors, warnings and, with --debug, every system call are appended to. */
  log?: string;
  logFormat: 'text' | 'json';
  debug: boolean;
  /** Fields that OCI does not know are faults, not warnings. */
  strict: boolean;
  /** Of --trace, which stands after the verb. */
  watch?: Observer;
}

export const version = '0.1.0';
/** The runtime-spec that is carried out. */
export const specVersion = '1.3.0';
