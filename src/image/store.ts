/**
 * The store as `run` and `cleanup` need it: the image that was asked for, or the error that says how to get it. Host
 * side. What unpacks is loaded only when the embedded image is made for the first time.
 */
import { ContainerError } from '../core/kernel/error.ts';
import { findImage, type Image } from './records.ts';
import { familiarName, familiarRepository, parseReference } from './reference.ts';

export { layersFolder } from './layout.ts';
export { findImage, type Image };

const EMBEDDED = 'busybox:latest';
const ALPINE = { branch: 'v3.20', version: '3.20.3' };

/** Finds the image, makes it when it is the embedded one. Throws ContainerError with the commands that bring it here. */
export async function ensureImage(root: string, reference: string): Promise<Image> {
  const found = findImage(root, reference);
  if (found !== undefined) return found;
  if (/^sha256:/.test(reference)) throw new ContainerError(`No such image: ${reference}`, { hint: SEE_IMAGES });
  if (familiarName(parseReference(reference)) !== EMBEDDED) throw missingImage(reference);
  const { loadEmbedded } = await import('./embedded.ts');
  return await loadEmbedded(root);
}

const SEE_IMAGES = 'tinyctr images shows the images that are here';

/** Pulling is not there yet, so the way is a file. */
function missingImage(reference: string): ContainerError {
  const parsed = parseReference(reference);
  const name = familiarName(parsed);
  const how = familiarRepository(parsed) === 'alpine' ? importAlpine(reference) : loadSaved(name);
  return new ContainerError(
    `Unable to find image '${name}' locally, and tinyctr can't pull from a registry yet: it has to come from a file`,
    { hint: `${how}\n  ${SEE_IMAGES}; busybox needs no file: tinyctr run busybox` },
  );
}

function importAlpine(reference: string): string {
  const architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const file = `alpine-minirootfs-${ALPINE.version}-${architecture}.tar.gz`;
  return [
    'take the root filesystem that the Alpine project publishes (rootfs-examples/alpine does it with a check of its digest):',
    `    curl -LO https://dl-cdn.alpinelinux.org/alpine/${ALPINE.branch}/releases/${architecture}/${file}`,
    `    sudo tinyctr import ${file} ${reference} --change 'CMD ["/bin/sh"]'`,
  ].join('\n');
}

function loadSaved(name: string): string {
  return [
    'save it where it is, with docker, podman or skopeo, and load the file:',
    `    docker save ${name} -o image.tar`,
    '    sudo tinyctr load -i image.tar',
    '  or import the archive of a root filesystem:',
    `    sudo tinyctr import rootfs.tar.gz ${name} --change 'CMD ["/bin/sh"]'`,
  ].join('\n');
}
