/** tinyctr-oci features */
import { writeSync } from 'node:fs';
import type { Command } from 'commander';
import { features } from '../features.ts';

export function define(program: Command): void {
  program
    .command('features')
    .description('Print what this runtime can do, as features.md of OCI has it.')
    .action(() => {
      writeSync(1, `${JSON.stringify(features(), null, 2)}\n`);
    });
}
