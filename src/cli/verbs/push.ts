/** tinyctr push: an image to a registry. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { imageEvent, tell } from '../../engine/journal.ts';
import { familiarName, familiarRepository, parseReference, type Reference } from '../../image/reference.ts';
import type { Globals } from '../globals.ts';
import { untilInterrupted } from '../interruption.ts';
import { requireRoot } from '../require.ts';

interface Options {
  allTags?: boolean;
  insecure?: boolean;
  quiet?: boolean;
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('push')
    .description('Send an image to a registry.')
    .argument('<name>', 'NAME[:TAG], with the host of its registry, or of Docker Hub')
    .option('-a, --all-tags', 'all tags of that name which are here')
    .option('--insecure', 'plain http, and certificates that nobody vouches for, are taken')
    .option('-q, --quiet', 'print only the name')
    .action(async (name: string, options: Options) => {
      requireRoot();
      await push(globals().root, name, options);
    });
}

async function push(root: string, name: string, { allTags = false, insecure = false, quiet = false }: Options) {
  const reference = parseReference(name);
  if (reference.digest !== undefined)
    throw new ContainerError(`a tag is pushed, but ${name} has a digest, which the registry finds out by itself`);
  const isTagged = /:[^/]*$/.test(name);
  if (allTags && isTagged) throw new ContainerError(`-a pushes every tag, so ${name} should name none`);
  const say = quiet ? () => {} : (line: string) => void process.stdout.write(`${line}\n`);
  if (!allTags && !isTagged) say(`Using default tag: ${reference.tag}`);
  const interruption = untilInterrupted(`the push of ${name}`, 'the name at the registry is as before');
  try {
    for (const one of allTags ? await allTagsOf(root, reference) : [reference]) {
      const { pushImage } = await import('../../push/push.ts');
      const { signal } = interruption;
      const progress = await makeProgress(quiet);
      const { digest, size } = await pushImage({ root, reference: one, insecure, signal, progress });
      tell(root, [imageEvent('push', familiarName(one), familiarRepository(one))]);
      say(`${one.tag}: digest: ${digest} size: ${size}`);
      if (quiet) process.stdout.write(`${one.domain}/${one.path}:${one.tag}\n`);
    }
  } finally {
    interruption.forget();
  }
}

async function makeProgress(quiet: boolean) {
  const { BarProgress, LineProgress, SilentProgress } = await import('../../pull/progress.ts');
  if (quiet) return new SilentProgress();
  return process.stdout.isTTY && process.env.TERM !== 'dumb' ? new BarProgress(process.stdout) : new LineProgress();
}

async function allTagsOf(root: string, reference: Reference): Promise<Reference[]> {
  const { tagsOf } = await import('../../push/push.ts');
  const tags = tagsOf(root, reference);
  if (tags.length === 0)
    throw new ContainerError(`An image does not exist locally with the name: ${familiarRepository(reference)}`, {
      exitCode: 1,
    });
  return tags;
}
