/** tinyctr doctor [--format text|json] */
import { type Command, Option } from 'commander';
import { type Format, formatFindings, formats } from '../../workshop/doctor/format.ts';
import { gatherFacts } from '../../workshop/doctor/gather.ts';
import { canMakeContainers, judge } from '../../workshop/doctor/judge.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('doctor')
    .description('Look at this host: what containers need, what is missing, what it means and how it is put right.')
    .addOption(new Option('--format <format>', 'how it is printed').choices(formats).default('text'))
    .addHelpText('after', '\nExit status: 0 containers can be made, 1 something that every container needs is missing.')
    .action(({ format }: { format: Format }) => {
      const { root, runRoot } = globals();
      const facts = gatherFacts(root, runRoot);
      const findings = judge(facts);
      process.stdout.write(formatFindings(format, facts, findings));
      process.exitCode = canMakeContainers(findings) ? 0 : 1;
    });
}
