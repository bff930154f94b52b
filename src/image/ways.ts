/** How an image comes here without a registry. Pure. */
import { familiarName, familiarRepository, parseReference } from './reference.ts';

const ALPINE = { branch: 'v3.20', version: '3.20.3' };

/** A hint: the commands that bring the image as a file. */
export function waysByFile(reference: string): string {
  const parsed = parseReference(reference);
  const how = familiarRepository(parsed) === 'alpine' ? importAlpine(reference) : loadSaved(familiarName(parsed));
  return `${how}\n  tinyctr images shows the images that are here; busybox needs neither network nor file: tinyctr run busybox`;
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
