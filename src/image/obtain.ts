/** An image that `run` wants and has not, or not surely: embedded, fetched, or an error that says what to do. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { hostPlatform, type Platform, parsePlatform, platformName, rank } from './platform.ts';
import { findImage, type Image } from './records.ts';
import { familiarName, parseReference } from './reference.ts';
import { waysByFile } from './ways.ts';

export interface Wish {
  /** When a registry is asked: missing is the default. */
  pull?: string | undefined;
  /** OS/ARCH[/VARIANT]; without it, any that is here will do. */
  platform?: string | undefined;
}

const EMBEDDED = 'busybox:latest';
const WHEN = ['missing', 'always', 'never'];

/** `found` is what has the name now. The rest is ensureImage's. */
export async function obtainImage(
  root: string,
  reference: string,
  found: Image | undefined,
  { pull = 'missing', platform }: Wish,
  fetch: (reference: string) => Promise<boolean>,
): Promise<Image | undefined> {
  if (!WHEN.includes(pull)) throw new ContainerError(`--pull ${pull}: it can be ${WHEN.join(', ')}`);
  const wanted = platform === undefined ? undefined : parsePlatform(platform);
  const fits = (image: Image | undefined) => image && (!wanted || rank(image, wanted) !== undefined);
  const isId = found !== undefined && found.names.length === 0;
  if (fits(found) && (pull !== 'always' || isId)) return found;
  if (isId || reference.startsWith('sha256:')) throw noSuchId(reference, found, wanted);
  const name = familiarName(parseReference(reference));
  const isHost = wanted === undefined || rank(hostPlatform, wanted) !== undefined;
  if (name === EMBEDDED && isHost && found === undefined && pull !== 'always') {
    const { loadEmbedded } = await import('./embedded.ts');
    return await loadEmbedded(root);
  }
  if (pull === 'never') throw notHere(reference, name, found, wanted);
  if (!fits(found)) process.stderr.write(`Unable to find image '${name}' locally\n`);
  if (!(await fetch(name))) return undefined;
  return findImage(root, reference);
}

function noSuchId(reference: string, found: Image | undefined, wanted: Platform | undefined): ContainerError {
  if (found === undefined)
    return new ContainerError(`No such image: ${reference}`, {
      hint: 'tinyctr images shows the images that are here; by its id none is fetched',
    });
  return new ContainerError(`${reference} is for ${platformName(found)}, not ${platformName(wanted!)}`);
}

function notHere(
  reference: string,
  name: string,
  found: Image | undefined,
  wanted: Platform | undefined,
): ContainerError {
  const what = found === undefined ? '' : `for ${platformName(wanted!)} (it is here for ${platformName(found)}) `;
  return new ContainerError(`Unable to find image '${name}' ${what}locally, and --pull never forbids to fetch it`, {
    hint: waysByFile(reference),
  });
}
