/** --format of what prints a table or a record: json, with docker's field names. Its Go templates are not there; jq does the same. */
import { Option } from 'commander';
import { UsageError } from '../engine/usage-error.ts';

/** What the JSON is: an object a line, one object, or one array with an element for each name. */
type Shape = 'lines' | 'object' | 'array';

/** `command` is what the example of an error shows: `tinyctr ps`. */
export function formatOption(command: string, shape: Shape, plain: 'table' | 'text' = 'table'): Option {
  return new Option('--format <format>', `${plain} or json`)
    .default(plain)
    .argParser((text: string) => checkFormat(text, [plain, 'json'], command, shape));
}

/** @throws UsageError */
export function checkFormat(text: string, known: readonly string[], command: string, shape: Shape): string {
  if (known.includes(text)) return text;
  if (text.includes('{{'))
    throw new UsageError(
      `--format '${text}': Go templates are not there, jq is: ${command} --format json | ${jqFor(text, shape)}`,
    );
  throw new UsageError(`--format '${text}' is not there: give ${known.join(' or ')}`);
}

const starts: Record<Shape, string> = { lines: '', object: '', array: '.[0]' };

/** The command that gives what the template would; where the template does more than to name fields, one that shows the way. */
export function jqFor(template: string, shape: Shape): string {
  const actions = [...template.matchAll(/\{\{([^}]*)\}\}/g)].map(([, action]) => action!.trim());
  const fields = actions.map((action) => /^(json\s+)?(\.[A-Za-z]*(?:\.[A-Za-z]+)*)$/.exec(action));
  if (fields.some((field) => field === null)) return `jq '${starts[shape] || '.'}'`;
  const paths = fields.map((field) => (starts[shape] + field![2]!).replace(/(.)\.$/, '$1'));
  if (paths.length === 1) return fields[0]![1] === undefined ? `jq -r '${paths[0]}'` : `jq -c '${paths[0]}'`;
  return `jq -r '[${paths.join(', ')}] | @tsv'`;
}
