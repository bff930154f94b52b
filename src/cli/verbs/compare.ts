/** tinyctr compare [--with RUNTIME] (--bundle DIR | IMAGE [command…]) */
import { rmdirSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { ensureImage, findImage } from '../../image/store.ts';
import { cannot, readBundle } from '../../workshop/compare/bundle.ts';
import { compare, makeScratch, removeLeftCgroups } from '../../workshop/compare/compare.ts';
import { type Format, formatReport, formats, unexplained } from '../../workshop/compare/format.ts';
import { imageSource } from '../../workshop/compare/image.ts';
import { runInNamespaces } from '../../workshop/compare/namespaces.ts';
import type { Globals } from '../globals.ts';
import { untilInterrupted } from '../interruption.ts';
import { requireRoot } from '../require.ts';

interface Options {
  with: string;
  bundle?: string;
  format: Format;
  syscalls?: boolean;
  /** Of the inner half: the folder for its files. */
  inside?: string;
}

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('compare')
    .description('Run one configuration under tinyctr-oci and another runtime, and tell what differs for the kernel.')
    .argument('[image]')
    .argument('[command...]')
    .addOption(new Option('--with <runtime>', 'runc, crun or the path of an OCI runtime').default('runc'))
    .option('--bundle <folder>', 'a folder with config.json, in place of an image')
    .addOption(new Option('--format <format>', 'how it is printed').choices(formats).default('text'))
    .option('--syscalls', 'also by which system calls each makes it, side by side; takes strace')
    .addOption(new Option('--inside <folder>').hideHelp())
    .passThroughOptions()
    .addHelpText('after', '\nExit status: 0 no unexplained difference, 1 different, 2 could not compare.');
  command.action(async (image: string | undefined, words: string[]) => {
    const options = command.opts<Options>();
    try {
      if ((image === undefined) === (options.bundle === undefined))
        throw cannot(
          'compare takes either an image or --bundle FOLDER',
          'tinyctr compare busybox, or tinyctr compare --bundle DIR',
        );
      if (options.inside === undefined) process.exitCode = await outer(globals(), options, image, words);
      else process.exitCode = await inner(globals(), options as Options & { inside: string }, image, words);
    } catch (error) {
      throw statusTwo(error);
    }
  });
}

/** Whatever was in the way, the two were not compared. An interruption has its own status. */
function statusTwo(error: unknown): unknown {
  const known = error instanceof ContainerError;
  if (known && error.exitCode !== 125) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ContainerError(message, { cause: error, exitCode: 2, ...(known ? { hint: error.hint } : {}) });
}

async function outer(globals: Globals, options: Options, image: string | undefined, words: string[]): Promise<number> {
  requireRoot();
  removeLeftCgroups();
  if (image !== undefined) {
    const found = await ensureImage(globals.root, image, {}, async (name) => {
      const { fetchImage } = await import('../fetch-image.ts');
      return await fetchImage(globals, name, undefined, false);
    });
    if (found === undefined) return 2; // it was said why
  }
  const scratch = makeScratch(tmpdir());
  const what = options.bundle === undefined ? ['--', image!, ...words] : ['--bundle', resolve(options.bundle)];
  const before = ['--root', globals.root, '--log-format', globals.logFormat, 'compare', '--inside', scratch];
  const flags = options.syscalls ? ['--syscalls'] : [];
  try {
    return await runInNamespaces([...before, '--with', options.with, '--format', options.format, ...flags, ...what]);
  } finally {
    rmdirSync(scratch);
    removeLeftCgroups();
  }
}

async function inner(
  { root }: Globals,
  { with: other, bundle, format, syscalls = false, inside }: Options & { inside: string },
  image: string | undefined,
  words: readonly string[],
): Promise<number> {
  const { signal, forget } = untilInterrupted('the comparison', 'nothing of it is left');
  const report = await compare({
    ...{ scratch: inside, other, signal, syscalls },
    source: (scratch) =>
      bundle === undefined ? imageSource(root, findImage(root, image!)!, words, scratch) : readBundle(bundle),
  });
  forget();
  const what = bundle ?? [image, ...words].join(' ');
  writeSync(1, formatReport(format, what, report));
  return unexplained(report).length === 0 ? 0 : 1;
}
