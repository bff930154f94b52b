/** tinyctr save: images for another machine, or for docker, podman and skopeo. */
import { type Command, Option } from 'commander';
import { imageEvent, tell } from '../../engine/journal.ts';
import { findImage } from '../../image/records.ts';
import type { SaveOptions } from '../../image/save.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('save')
    .description('Save images: as an archive that docker, podman and skopeo load, or an OCI layout.')
    .argument('<image...>', 'names, saved with the image, or ids')
    .option('-o, --output <path>', 'FILE, or DIR for oci-dir; standard output without it')
    .addOption(
      new Option('--format <format>', 'what to write')
        .choices(['docker-archive', 'oci-archive', 'oci-dir'])
        .default('docker-archive'),
    )
    .action(async (images: string[], options: { output?: string; format: SaveOptions['format'] }) => {
      requireRoot();
      const { saveImages } = await import('../../image/save.ts');
      const { root } = globals();
      await saveImages(root, images, { format: options.format, output: options.output });
      const ids = new Set(images.flatMap((name) => findImage(root, name)?.id ?? []));
      tell(
        root,
        [...ids].map((id) => imageEvent('save', `sha256:${id}`, `sha256:${id}`)),
      );
    });
}
