/** An image's files as a container would see them, for whoever reads them before there is a container. Host side. */
import { closeSync } from 'node:fs';
import { destroy } from '../core/host/child.ts';
import { spawnStage } from '../core/host/spawn.ts';
import * as k from '../core/kernel/constants.ts';
import { type HostFd, Stage } from '../core/stage/stage.ts';

interface ImageRoot {
  layersFolder: string;
  /** Names in that folder, lowest first. */
  lower: readonly string[];
  /** An empty folder, which lies above: overlayfs wants two at least. */
  empty: string;
  /** A folder to mount it on. */
  target: string;
}

/**
 * A descriptor of the mounted layers, owned by the caller. The mount is made by a stage in a mount namespace of its own, so that
 * nobody else ever sees it; it ends with the descriptor, and with this process.
 */
export function openImageRoot({ layersFolder, lower, empty, target }: ImageRoot): HostFd {
  const nothing = 0 as HostFd;
  const { pidfd, wire } = spawnStage({ namespaces: k.CLONE_NEWNS, stdio: [nothing, nothing, nothing] });
  const stage = new Stage(wire);
  try {
    wire.handshake();
    stage.step({
      id: 'image.root',
      why: 'what a new volume begins with is read from the image’s layers, one over the other',
    });
    stage.mount('', '/', null, k.MS_REC | k.MS_PRIVATE, null);
    stage.chdir(layersFolder); // short names: mount(2) takes at most a page of options
    stage.mount('overlay', target, 'overlay', 0, `lowerdir=${[empty, ...[...lower].reverse()].join(':')}`);
    const root = stage.open_tree(k.AT_FDCWD, target, k.OPEN_TREE_CLONE); // below one that is only unmounted, the kernel finds no way by ".." (EAGAIN)
    stage.flush();
    return stage.send_fd(root);
  } catch (error) {
    for (const fd of stage.received) closeSync(fd);
    throw error;
  } finally {
    wire.close();
    destroy(pidfd);
  }
}
