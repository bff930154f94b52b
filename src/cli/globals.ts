/** The options that stand before the verb. */
export interface Globals {
  /** Images and containers: /var/lib/tinyctr. */
  root: string;
  /** State of what is running: /run/tinyctr. */
  runRoot: string;
  debug: boolean;
  logFormat: 'text' | 'json';
}
