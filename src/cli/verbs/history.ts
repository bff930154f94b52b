/** tinyctr history: how an image came about, in docker's columns. */
import { type Command, Option } from 'commander';
import { type HistoryStep, imageHistory } from '../../image/history.ts';
import { needImage } from '../../image/need.ts';
import { formatColumns, humanAge, humanSize } from '../../image/present.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

const MISSING = '<missing>';
const SHORT_TEXT = 45;

interface Options {
  human: boolean;
  trunc: boolean;
  quiet?: boolean;
  format: string;
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('history')
    .description('Show how an image came about, the youngest step first.')
    .argument('<image>', 'name or id')
    .addOption(new Option('-H, --human [boolean]', 'sizes and times for people').default(true).argParser(isTrue))
    .option('--no-trunc', 'whole ids and commands')
    .option('-q, --quiet', 'only ids')
    .addOption(formatOption('tinyctr history IMAGE', 'lines'))
    .action(async (reference: string, options: Options) => {
      requireRoot();
      const image = await needImage(globals().root, reference);
      const id = options.trunc ? image.id.slice(0, 12) : `sha256:${image.id}`;
      const rows = imageHistory(globals().root, image).map((step, i) => rowOf(i === 0 ? id : MISSING, step, options));
      if (options.quiet) process.stdout.write(rows.map(({ ID }) => `${ID}\n`).join(''));
      else if (options.format === 'json') process.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
      else process.stdout.write(table(rows, options.human));
    });
}

/** --human=false; with the short option commander leaves the = in its place. */
function isTrue(text: string): boolean {
  return !['false', '0'].includes(text.replace(/^=/, ''));
}

type Row = Record<'Comment' | 'CreatedAt' | 'CreatedBy' | 'CreatedSince' | 'ID' | 'Size', string>;

/** The keys of docker's own format. */
function rowOf(id: string, { created, createdBy, comment, size }: HistoryStep, { human, trunc }: Options): Row {
  return {
    Comment: comment,
    CreatedAt: created ?? 'N/A',
    CreatedBy: trunc && createdBy.length > SHORT_TEXT ? `${createdBy.slice(0, SHORT_TEXT - 1)}…` : createdBy,
    CreatedSince: created === undefined ? 'N/A' : humanAge(created, Date.now()),
    ID: id,
    Size: human ? humanSize(size) : String(size),
  };
}

function table(rows: readonly Row[], human: boolean): string {
  const lines = rows.map((row) => [
    row.ID,
    human ? row.CreatedSince : row.CreatedAt,
    row.CreatedBy,
    row.Size,
    row.Comment,
  ]);
  return formatColumns([['IMAGE', human ? 'CREATED' : 'CREATED AT', 'CREATED BY', 'SIZE', 'COMMENT'], ...lines]);
}
