/** tinyctr-oci spec [--bundle FOLDER] */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { defaultSpec, rootlessSpec } from '../default-spec.ts';

export function define(program: Command): void {
  program
    .command('spec')
    .description('Write a config.json to begin with.')
    .option('-b, --bundle <folder>', 'where to', '.')
    .option('--rootless', 'for who is not root, here: with a user namespace of whose ids that user is root')
    .action(({ bundle, rootless }: { bundle: string; rootless?: boolean }) => {
      const file = resolve(bundle, 'config.json');
      try {
        writeFileSync(file, `${JSON.stringify(rootless ? rootlessSpec() : defaultSpec, null, 2)}\n`, { flag: 'wx' });
      } catch (error) {
        if ((error as { code?: string }).code !== 'EEXIST') throw error;
        throw new ContainerError(`${file} exists already`, { hint: 'it is never overwritten: remove it first' });
      }
    });
}
