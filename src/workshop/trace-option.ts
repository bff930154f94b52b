/** `--trace` on a command line. Pure. */

/** What commander says of a command. */
interface KnownCommand {
  name: () => string;
  options: readonly { long?: string | undefined; short?: string | undefined; required: boolean }[];
}

/** `--trace` has a value only behind `=`: commander would take the container's name for it. Words of the command's that follow stay. */
export function traceAlone(args: readonly string[], command: KnownCommand | undefined): string[] {
  const start = args.indexOf(command?.name() ?? '') + 1;
  const out = args.slice(0, start);
  for (let i = start; i < args.length; i++) {
    const word = args[i]!;
    if (!word.startsWith('-')) return [...out, ...args.slice(i)];
    out.push(word === '--trace' ? '--trace=' : word);
    const option = command?.options.find(({ long, short }) => long === word || short === word);
    if (option?.required && i + 1 < args.length) out.push(args[++i]!);
  }
  return out;
}
