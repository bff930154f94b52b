/** tinyctr pull: an image from a registry. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { imageEvent, tell } from '../../engine/journal.ts';
import { familiarName, familiarRepository, parseReference } from '../../image/reference.ts';
import type { Globals } from '../globals.ts';
import { untilInterrupted } from '../interruption.ts';
import { requireRoot } from '../require.ts';

interface Options {
  platform?: string;
  insecure?: boolean;
  quiet?: boolean;
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('pull')
    .description('Fetch an image from a registry.')
    .argument('<name>', 'NAME[:TAG] or NAME@DIGEST, of Docker Hub where it says nothing else')
    .option('--platform <os/arch[/variant]>', 'the image for another machine than this one')
    .option('--insecure', 'plain http, and certificates that nobody vouches for, are taken')
    .option('-q, --quiet', 'print only the name')
    .action(async (name: string, options: Options) => {
      requireRoot();
      await pull(globals().root, name, options);
    });
}

async function pull(root: string, name: string, { platform, insecure = false, quiet = false }: Options): Promise<void> {
  const reference = parseReference(name);
  const { parsePlatform } = await import('../../image/platform.ts');
  const { pullImage } = await import('../../pull/pull.ts');
  const { BarProgress, LineProgress, SilentProgress } = await import('../../pull/progress.ts');
  const say = quiet ? () => {} : (line: string) => void process.stdout.write(`${line}\n`);
  if (!/[:@][^/]*$/.test(name)) say(`Using default tag: ${reference.tag}`);
  const atTerminal = process.stdout.isTTY && process.env.TERM !== 'dumb';
  process.exitCode = 125; // should this process end while something is still waited for
  const interruption = untilInterrupted(
    `the pull of ${name}`,
    'what has arrived stays: the next pull goes on from there, tinyctr cleanup removes it',
  );
  try {
    const { digest, isOld } = await pullImage({
      root,
      reference,
      platform: platform === undefined ? undefined : parsePlatform(platform),
      insecure,
      signal: interruption.signal,
      progress: quiet ? new SilentProgress() : atTerminal ? new BarProgress(process.stdout) : new LineProgress(),
    });
    process.exitCode = 0;
    const shown = familiarName(reference);
    tell(root, [imageEvent('pull', shown, familiarRepository(reference))]);
    say(`Digest: ${digest}`);
    say(`Status: ${isOld ? 'Image is up to date' : 'Downloaded newer image'} for ${shown}`);
    process.stdout.write(`${reference.domain}/${reference.path}${shown.slice(shown.search(/[:@][^/]*$/))}\n`);
  } catch (error) {
    throw await withWays(error, name);
  } finally {
    interruption.forget();
  }
}

/** A registry that nobody can reach leaves the ways by file. */
async function withWays(error: unknown, name: string): Promise<unknown> {
  const { RegistryError } = await import('../../registry/failure.ts');
  if (!(error instanceof RegistryError) || error.status !== undefined || error.hint !== undefined) return error;
  if (error.cause === undefined) return error; // it was reached
  const { waysByFile } = await import('../../image/ways.ts');
  return new ContainerError(error.message, { hint: `without a registry: ${waysByFile(name)}` });
}
