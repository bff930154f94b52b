/** --sig-proxy[=true|false] of attach and start: commander takes a word after an option for its value, docker only after =. */

/** The words with `--sig-proxy=false` as commander's `--no-sig-proxy`. */
export function prepareSigProxy(args: readonly string[]): string[] {
  return args.map((word) => {
    const value = /^--sig-proxy(?:=(true|1|false|0))?$/.exec(word);
    if (value === null) return word;
    return value[1] === 'false' || value[1] === '0' ? '--no-sig-proxy' : '--sig-proxy';
  });
}
