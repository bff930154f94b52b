import { describe, expect, test } from 'vitest';
import { checkFormat, jqFor } from '../../../src/cli/format.ts';
import { UsageError } from '../../../src/engine/usage-error.ts';

describe('--format', () => {
  test.each([
    ['{{.ID}}', 'lines', "jq -r '.ID'"],
    ['table {{.ID}}\t{{ .Names }}', 'lines', "jq -r '[.ID, .Names] | @tsv'"],
    ['{{json .}}', 'lines', "jq -c '.'"],
    ['{{.State.Status}}', 'array', "jq -r '.[0].State.Status'"],
    ['{{json .Mounts}}', 'array', "jq -c '.[0].Mounts'"],
    ['{{json .}}', 'array', "jq -c '.[0]'"],
    ['{{.ServerVersion}}', 'object', "jq -r '.ServerVersion'"],
    ['{{range .Mounts}}{{.Source}}{{end}}', 'array', "jq '.[0]'"],
    ["{{index .Config.Labels 'a'}}", 'lines', "jq '.'"],
  ] as const)('%s of %s is %s', (template, shape, command) => {
    expect(jqFor(template, shape)).toBe(command);
  });

  test('a template is refused with the command that does it, anything else with what there is', () => {
    const check = (text: string) => () => checkFormat(text, ['table', 'json'], 'tinyctr ps', 'lines');
    expect(check('json')()).toBe('json');
    expect(check('{{.ID}}')).toThrow(
      new UsageError("--format '{{.ID}}': Go templates are not there, jq is: tinyctr ps --format json | jq -r '.ID'"),
    );
    expect(check('yaml')).toThrow(new UsageError("--format 'yaml' is not there: give table or json"));
  });
});
