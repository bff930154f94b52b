/** tinyctr inspect-step [--format text|json] [CONTAINER] */
import type { Command } from 'commander';
import { startTime } from '../../lifecycle/lifecycle.ts';
import { type KernelView, viewOf } from '../../workshop/kernel-view.ts';
import { formatStop, painter } from '../../workshop/step-format.ts';
import type { StepRecord } from '../../workshop/step-record.ts';
import { shortenFor, wholeView } from '../../workshop/view-changes.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';
import { findWaiting } from '../waiting.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('inspect-step')
    .description('Tell all about a container that waits at a step of its construction.')
    .addOption(formatOption('tinyctr inspect-step', 'object', 'text'))
    .argument('[container]', 'name or id; needed only where more than one waits')
    .action(async (container: string | undefined, { format }: { format: 'text' | 'json' }) => {
      requireRoot();
      const record = await findWaiting(globals(), container);
      const view = record.pid > 0 && startTime(record.pid) === record.startTime ? viewOf(record.pid) : undefined;
      process.stdout.write(
        format === 'json' ? `${JSON.stringify({ ...record, ...view }, null, 2)}\n` : text(record, view),
      );
    });
}

function text(record: StepRecord, view: KernelView | undefined): string {
  const short = shortenFor(record.rootfs);
  const paint = painter(process.env, process.stdout.isTTY);
  const head = [
    { topic: 'container', lines: [record.id.slice(0, 12)] },
    { topic: 'process', lines: [record.pid === 0 ? 'none yet' : String(record.pid)] },
  ];
  const changes = [...head, ...(view ? wholeView(view, short) : [])];
  return formatStop({ record, held: false, changes, whole: true }, paint, short);
}
