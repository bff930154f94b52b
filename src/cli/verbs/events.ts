/** tinyctr events: what happens to containers, images and volumes, as docker tells it. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { eventFilter, eventText, followEvents, JournalReader, momentOf, type ToldEvent } from '../../engine/events.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { parseMoment } from '../../image/moment.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { requireRoot } from '../require.ts';

interface EventsOptions {
  since?: string;
  until?: string;
  filter?: string[];
  format: string;
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('events')
    .description('Tell what happens to containers, images and volumes, as it happens, until Ctrl-C.')
    .option('--since <time>', 'also what happened from then on: 2026-01-31T12:00:00Z, 1769860800, or 10m ago')
    .option('--until <time>', 'up to then, and end')
    .option('-f, --filter <name=value>', 'type, event, container, image, volume or label', list)
    .addOption(formatOption('tinyctr events', 'lines', 'text'))
    .action(async (options: EventsOptions) => {
      const { root, runRoot } = globals();
      const now = Date.now();
      const since = options.since === undefined ? undefined : moment('--since', options.since, now);
      const until = options.until === undefined ? undefined : moment('--until', options.until, now);
      const keeps = eventFilter(options.filter ?? []);
      requireRoot();
      const reader = new JournalReader(root);
      if (since === undefined && until === undefined) reader.read(); // what happens from now on
      await cleanup(root, runRoot);
      const isWanted = (event: ToldEvent) => {
        const at = momentOf(event);
        return (since === undefined || at >= since) && (until === undefined || at <= until) && keeps(event);
      };
      const print = (event: ToldEvent) => `${options.format === 'json' ? event.json : eventText(event)}\n`;
      await followEvents(root, reader, until, (events) => {
        const text = events.filter(isWanted).map(print).join('');
        if (text !== '') process.stdout.write(text);
      });
      reader.close();
    });
}

/** Milliseconds since 1970. @throws UsageError */
function moment(option: string, text: string, now: number): number {
  const ms = parseMoment(text, now);
  if (ms === undefined)
    throw new UsageError(
      `${option} '${text}' is no time: give 2026-01-31T12:00:00Z, seconds since 1970, or 10m for ten minutes ago`,
    );
  return ms;
}
