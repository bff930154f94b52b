/** An explanation as text for a terminal, as JSON, and as markdown. Pure. */
import type { ExplainedStep, Phase } from './explain.ts';

export const formats = ['text', 'json', 'markdown'] as const;
export type Format = (typeof formats)[number];

const headings: Record<Phase, string> = {
  host: 'On the host: a cgroup, and a process in new namespaces',
  init: 'In the container that is being built: its first process makes the calls',
  'last frame': 'The last frame: sent as one piece, from root with everything to the user with little',
  exec: 'The container’s program takes the place',
};

/** `title` is what was asked for; `notes` what could not be looked at. Ends with a newline. */
export function formatExplanation(
  format: Format,
  title: string,
  steps: readonly ExplainedStep[],
  notes: readonly string[] = [],
): string {
  if (format === 'json') {
    const told = { title, steps: steps.map(jsonStep), ...(notes.length > 0 ? { notes } : {}) };
    return `${JSON.stringify(told, null, 2)}\n`;
  }
  const write = format === 'text' ? textStep : markdownStep;
  const heading = format === 'text' ? textHeading : markdownHeading;
  let phase: Phase | undefined;
  const parts = steps.map((step, i) => {
    const head = step.phase === phase ? '' : heading(headings[step.phase]);
    phase = step.phase;
    return `${head}${write(step, i + 1)}`;
  });
  const calls = steps.reduce((sum, step) => sum + step.calls.length, 0);
  const begin = format === 'text' ? title : `# ${title}`;
  const said = notes.map((note) => `Note: ${note}.\n`).join('');
  return `${begin}\n\n${parts.join('\n')}\n${said}${steps.length} steps, ${calls} calls. Nothing of it was done.\n`;
}

function jsonStep({ phase, id, why, without, see, calls }: ExplainedStep): object {
  const shown = calls.map(({ text, name, result, frame, last }) => ({
    call: text,
    ...(name === undefined ? {} : { name, result: result ?? null, frame }),
    ...(last ? { last } : {}),
  }));
  return { phase, id, why, without, see, cve: see.filter((one) => one.startsWith('CVE-')), calls: shown };
}

const textHeading = (text: string): string => `${text}\n${'='.repeat(text.length)}\n\n`;
const markdownHeading = (text: string): string => `## ${text}\n\n`;

function textStep({ id, why, without, see, calls }: ExplainedStep, number: number): string {
  const lines = [
    `${number}. ${id}`,
    ...wrapped('   why      ', why),
    ...(without === undefined ? [] : wrapped('   without  ', without)),
    ...(see.length === 0 ? [] : wrapped('   see      ', see.join(', '))),
    ...calls.map(({ text }) => `     ${text}`),
  ];
  return `${lines.join('\n')}\n`;
}

function markdownStep({ id, why, without, see, calls }: ExplainedStep, number: number): string {
  const lines = [
    `### ${number}. ${id}`,
    '',
    `Why: ${why}.`,
    ...(without === undefined ? [] : ['', `Without it: ${without}.`]),
    ...(see.length === 0 ? [] : ['', `See: ${see.join(', ')}.`]),
    ...(calls.length === 0 ? [] : ['', '```c', ...calls.map(({ text }) => text), '```']),
  ];
  return `${lines.join('\n')}\n`;
}

const WIDTH = 110;

/** Lines of at most WIDTH columns; the first begins with `label`, the others with as many blanks. */
function wrapped(label: string, text: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && label.length + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((one, i) => (i === 0 ? label : ' '.repeat(label.length)) + one);
}
