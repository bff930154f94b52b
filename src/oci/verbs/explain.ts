/** tinyctr-oci explain [--format text|json|markdown] [--bundle FOLDER] */
import { type Command, Option } from 'commander';
import { capabilityNames } from '../../core/plan/capabilities.ts';
import { explainPlan } from '../../workshop/explain.ts';
import { type Format, formatExplanation, formats } from '../../workshop/explain-format.ts';
import { loadBundle } from '../config.ts';
import type { Globals } from '../globals.ts';
import { reporter } from '../log.ts';
import { permittedCapabilities, planBundle } from '../plan.ts';
import { asInImage } from '../tmpfs.ts';

/** To somebody who is not root: what root, who would run it, may. */
const everyCapability = (1n << BigInt(capabilityNames.length)) - 1n;

export function define(program: Command, globals: () => Globals): void {
  program
    .command('explain')
    .description('Print what run would do with a bundle, step by step and why, without doing anything.')
    .option('-b, --bundle <folder>', 'the folder with config.json', '.')
    .addOption(new Option('--format <format>', 'how it is printed').choices(formats).default('text'))
    .action((options: { bundle: string; format: Format }) => {
      const permitted = process.geteuid!() === 0 ? permittedCapabilities() : everyCapability;
      const bundle = loadBundle(options.bundle, permitted, reporter(globals()));
      const plan = planBundle(bundle, 'explained', undefined, permitted);
      const { mounts } = asInImage(plan.mounts, bundle.rootfs, false);
      process.stdout.write(
        formatExplanation(options.format, `tinyctr-oci run --bundle ${bundle.path}`, explainPlan({ ...plan, mounts })),
      );
    });
}
