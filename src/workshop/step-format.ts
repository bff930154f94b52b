/** A stop of --step as text: it fits a projector, 80 columns and, with the prompt below it, 24 rows. Pure. */
import type { StepRecord } from './step-record.ts';
import type { Shorten, Told } from './view-changes.ts';

const WIDTH = 80;
/** The prompt has the last one. */
const HEIGHT = 23;
const LABEL = 12;
const MOST_CALLS = 6;
const MOST_LINES = 10;

export type Style = 'title' | 'label' | 'gone' | 'come' | 'error';
/** Puts colour around a text, or does not. */
export type Paint = (style: Style, text: string) => string;

const codes: Record<Style, string> = { title: '1;36', label: '1', gone: '31', come: '32', error: '1;31' };

/** Colours only where somebody sees them and wants them. Source: https://no-color.org */
export function painter(env: NodeJS.ProcessEnv, terminal: boolean): Paint {
  if (!terminal || env.NO_COLOR || env.TERM === 'dumb') return (_style, text) => text;
  return (style, text) => `\x1b[${codes[style]}m${text}\x1b[0m`;
}

/** Words of `text` in lines of `width`; a word that is longer is cut into pieces. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ').flatMap((one) => pieces(one, width))) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (longer.length > width && line !== '') {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

function pieces(word: string, width: number): string[] {
  if (word.length <= width) return [word];
  const cut = word.slice(0, width).search(/[/,|:](?!.*[/,|:])/) + 1 || width;
  return [word.slice(0, cut), ...pieces(word.slice(cut), width)];
}

/** `text` beside `label`; more lines are indented. */
export function row(paint: Paint, label: string, text: string, style: Style | undefined = styleOf(text)): string[] {
  const lines = wrap(text, WIDTH - LABEL - 2);
  return lines.map((line, i) => {
    const shown = style ? paint(style, line) : line;
    return i === 0 ? `${paint('label', label.padEnd(LABEL))}  ${shown}` : `${' '.repeat(LABEL + 2)}${shown}`;
  });
}

const styleOf = (text: string): Style | undefined => ({ '+': 'come', '-': 'gone' })[text[0] ?? ''] as Style | undefined;

export interface Stop {
  record: StepRecord;
  /** Of how many steps this is which, if that is known. */
  place?: { number: number; of: number } | undefined;
  /** The call waits with the others of the last frame. */
  held: boolean;
  changes: readonly Told[];
  /** In full: nothing is shortened, and it may be longer than a screen. */
  whole?: boolean;
}

const titles: Record<StepRecord['at'], string> = {
  step: 'before step',
  before: 'in step',
  after: 'in step',
  failed: 'failed in step',
};

/** Long lists are shortened until it fits. */
export function formatStop(stop: Stop, paint: Paint, short: Shorten): string {
  if (stop.whole) return `${stopRows(stop, paint, short, Number.POSITIVE_INFINITY).join('\n')}\n`;
  let lines: string[] = [];
  for (let most = MOST_LINES; most > 0; most--) {
    lines = stopRows(stop, paint, short, most);
    if (lines.length <= HEIGHT) return `${lines.join('\n')}\n`;
  }
  const shown = lines.slice(0, HEIGHT - 1);
  return `${[...shown, ...row(paint, '', more(lines.length - shown.length))].join('\n')}\n`;
}

const more = (count: number): string => `… ${count} more, v shows all`;

/** `most` lines of each list. */
function stopRows(stop: Stop, paint: Paint, short: Shorten, most: number): string[] {
  const { record, place, held, changes } = stop;
  const { at, step, call, calls, error, because = [] } = record;
  const number = place ? ` ${place.number} of ${place.of}` : '';
  const title = `-- ${titles[at]}${number}: ${step.id} `;
  return [
    '',
    paint(at === 'failed' ? 'error' : 'title', title.padEnd(WIDTH, '-').slice(0, WIDTH)),
    ...limited(row(paint, 'why', short(step.why)), 8),
    ...(step.without ? row(paint, 'without', step.without) : []),
    ...(step.see.length > 0 ? row(paint, 'see', step.see.join(', ')) : []),
    ...(!call || at === 'step' ? [] : row(paint, at, short(call), at === 'failed' ? 'error' : 'title')),
    ...(error ? row(paint, 'error', error) : []),
    ...because.flatMap((line) => row(paint, 'because', line)),
    ...(at === 'step'
      ? callRows(
          paint,
          calls.map((one) => withoutResult(short(one))),
          Math.min(most, stop.whole ? most : MOST_CALLS),
        )
      : []),
    ...(held ? row(paint, 'note', 'nothing since the filter has happened yet: it is one piece with execve') : []),
    ...toldRows(paint, changes, most),
  ];
}

function callRows(paint: Paint, calls: readonly string[], most: number): string[] {
  const left = calls.length - most;
  const shown = left > 1 ? [...calls.slice(0, most), more(left)] : calls;
  return shown.flatMap((call, i) => limited(row(paint, i === 0 ? 'calls' : '', call), 2));
}

/** Of each topic at most so many lines. */
export function toldRows(paint: Paint, all: readonly Told[], most: number): string[] {
  return all.flatMap(({ topic, lines }) => {
    const left = lines.length - most;
    const shown = left > 1 ? [...lines.slice(0, most), more(left)] : lines;
    return shown.flatMap((line, i) => limited(row(paint, i === 0 ? topic : '', line), 4));
  });
}

/** What comes back is not known yet. */
const withoutResult = (call: string): string => call.replace(/ = [^=]*$/, '');

const limited = (lines: string[], most: number): string[] =>
  lines.length <= most ? lines : [...lines.slice(0, most - 1), `${' '.repeat(LABEL + 2)}…`];
