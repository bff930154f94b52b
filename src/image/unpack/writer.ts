/**
 * Writes the entries of a layer's archive into a tree, in the form overlayfs wants: whiteouts become character devices
 * 0:0, opaque directories an extended attribute. Host side. Nothing is written by path: every entry is made relative
 * to the descriptor of its directory, and never through what has its own name (SEC-13).
 */
import { closeSync, fchmodSync, fchownSync, ftruncateSync, writeSync } from 'node:fs';
import * as K from '../../core/kernel/constants.ts';
import { E, errnoText } from '../../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../../core/kernel/error.ts';
import { type Entry, type EntrySink, shown } from '../tar/entry.ts';
import * as at from './at.ts';
import { cleanPath, isAufsOwn, splitPath, whiteoutOf } from './path.ts';
import { removeTree } from './remove-tree.ts';
import { type Directory, isWhiteout, setOpaque, Tree } from './tree.ts';
import { checkDevice, checkOwner, wantedXattrs } from './untrusted.ts';

const NEW_FILE = K.O_WRONLY | K.O_CREAT | K.O_EXCL;

export class TreeWriter implements EntrySink {
  readonly #tree: Tree;
  #fileFd = -1;
  #entry: Entry | undefined;
  #whiteouts = 0;
  /** Bytes of all files, holes included, hard links once. */
  size = 0;

  constructor(path: string) {
    this.#tree = new Tree(path);
  }

  /** Ends the work, complete or not: directories get their times, descriptors are closed. Call it once. */
  close(): void {
    if (this.#fileFd >= 0) closeSync(this.#fileFd);
    this.#fileFd = -1;
    this.#tree.close();
  }

  begin(entry: Entry): void {
    this.#entry = entry;
    this.#explain(entry, () => this.#begin(entry));
  }

  data(chunk: Buffer, position: number): void {
    if (this.#fileFd < 0) return; // a marker's data, which says nothing
    this.#explain(this.#entry!, () => {
      for (let done = 0; done < chunk.length; )
        done += writeSync(this.#fileFd, chunk, done, chunk.length - done, position + done);
    });
  }

  end(entry: Entry): void {
    if (this.#fileFd < 0) return;
    this.#explain(entry, () => {
      if (entry.extents) ftruncateSync(this.#fileFd, entry.size);
      finishOpen(this.#fileFd, entry);
      at.futimens(this.#fileFd, entry.mtimeNs);
    });
    closeSync(this.#fileFd);
    this.#fileFd = -1;
    this.size += entry.size;
  }

  #begin(entry: Entry): void {
    checkOwner(entry);
    const path = cleanPath(entry.name);
    if (isAufsOwn(path)) return;
    const { directory: parentPath, name } = splitPath(path);
    const hidden = whiteoutOf(name);
    if (hidden !== undefined) this.#whiteout(parentPath, hidden);
    else if (entry.type === 'directory') this.#directory(path, entry);
    else if (path === '') throw new ContainerError('the root of a layer can only be a directory');
    else if (entry.type === 'link') this.#hardLink(path, entry);
    else if (entry.type === 'file') this.#file(parentPath, name);
    else this.#node(parentPath, name, entry);
  }

  #file(parentPath: string, name: string): void {
    this.#fileFd = this.#create(parentPath, name, ({ fd }) => at.openat(fd, name, NEW_FILE, 0o600, 'EEXIST'));
  }

  #node(parentPath: string, name: string, entry: Entry): void {
    this.#create(parentPath, name, ({ fd }) => makeNode(fd, name, entry));
    finishNode(this.#tree.directory(parentPath, true).fd, name, entry);
  }

  /** Makes something new at a name; what an earlier entry put there goes first, whatever it is. */
  #create(parentPath: string, name: string, make: (parent: Directory) => number): number {
    const parent = this.#tree.directory(parentPath, true);
    parent.changed = true;
    const result = make(parent);
    if (result !== -E.EEXIST) return result;
    this.#clear(parentPath, name);
    return make(this.#tree.directory(parentPath, true));
  }

  /** A directory or link that goes may be on the way to a cached directory: then the tree forgets them all. */
  #clear(parentPath: string, name: string): void {
    const parent = this.#tree.directory(parentPath, true);
    const type = (at.factsAt(parent.fd, name)?.mode ?? 0) & K.S_IFMT;
    if (type !== K.S_IFDIR && type !== K.S_IFLNK) return void at.unlinkat(parent.fd, name, 0);
    this.#tree.forget();
    const again = this.#tree.directory(parentPath, true);
    again.changed = true;
    removeTree(again.fd, name);
  }

  #directory(path: string, entry: Entry): void {
    const directory = path === '' ? this.#tree.directory('', true) : this.#openDirectory(path);
    finishOpen(directory.fd, entry);
    directory.mtimeNs = entry.mtimeNs;
    directory.changed = true;
  }

  /** Makes the directory, keeps one that is there, replaces anything else: then it must hide what lower layers have. */
  #openDirectory(path: string): Directory {
    const { directory: parentPath, name } = splitPath(path);
    const parent = this.#tree.directory(parentPath, true);
    const made = at.mkdirat(parent.fd, name, 0o755);
    if (made >= 0) parent.changed = true;
    const fd = at.openat(parent.fd, name, K.O_RDONLY | K.O_DIRECTORY, 0, 'ENOTDIR', 'ELOOP');
    if (fd >= 0) return this.#tree.adopt(path, fd);
    this.#clear(parentPath, name);
    const again = this.#tree.directory(parentPath, true);
    again.changed = true;
    at.mkdirat(again.fd, name, 0o755);
    const directory = this.#tree.adopt(path, at.openat(again.fd, name, K.O_RDONLY | K.O_DIRECTORY));
    setOpaque(directory.fd);
    return directory;
  }

  #hardLink(path: string, entry: Entry): void {
    const target = cleanPath(entry.linkname);
    const from = splitPath(target);
    const to = splitPath(path);
    if (target === '') throw new ContainerError('a hard link to the root of the layer');
    const source = this.#tree.directory(from.directory, false);
    const facts = at.factsAt(source.fd, from.name);
    if (facts === undefined || (this.#whiteouts > 0 && isWhiteout(source.fd, from.name)))
      throw new ContainerError(`a hard link to ${shown(target)}, which the layer does not have`);
    const parent = this.#tree.directory(to.directory, true);
    const there = at.factsAt(parent.fd, to.name);
    if (there?.inode === facts.inode && there.device === facts.device) return;
    this.#create(to.directory, to.name, (dir) =>
      at.linkat(this.#tree.directory(from.directory, false).fd, from.name, dir.fd, to.name),
    );
  }

  /** Source: OCI image-spec, layer.md, "Whiteouts": they speak of lower layers only, wherever in the archive they stand. */
  #whiteout(parentPath: string, hidden: string): void {
    const parent = this.#tree.directory(parentPath, true);
    if (hidden === '') {
      setOpaque(parent.fd);
      return;
    }
    this.#whiteouts++;
    parent.changed = true;
    if (at.mknodat(parent.fd, hidden, K.S_IFCHR, 0) >= 0) return;
    const fd = at.openat(parent.fd, hidden, K.O_RDONLY | K.O_DIRECTORY, 0, 'ENOTDIR', 'ELOOP');
    if (fd < 0) return; // this layer's own file hides the lower one already
    setOpaque(fd);
    closeSync(fd);
  }

  #explain(entry: Entry, act: () => void): void {
    try {
      act();
    } catch (error) {
      const what = `${shown(entry.name)} can't be unpacked`;
      if (error instanceof ContainerError) throw new ContainerError(`${what}: ${error.message}`, { hint: error.hint });
      const errno = error instanceof SyscallError ? error.facts.errno : -((error as NodeJS.ErrnoException).errno ?? 0);
      if (errno === 0) throw error;
      throw new ContainerError(`${what}: ${errnoText(errno)}`, { cause: error });
    }
  }
}

/** Owner before mode and file capabilities: chown(2) clears setuid and security.capability. */
function finishOpen(fd: number, entry: Entry): void {
  fchownSync(fd, entry.uid, entry.gid);
  fchmodSync(fd, entry.mode);
  for (const [name, value] of wantedXattrs(entry)) at.fsetxattr(fd, name, value);
}

function finishNode(dirfd: number, name: string, entry: Entry): void {
  at.fchownat(dirfd, name, entry.uid, entry.gid);
  if (entry.type !== 'symlink') at.fchmodat(dirfd, name, entry.mode);
  const xattrs = wantedXattrs(entry);
  if (xattrs.length > 0) {
    const fd = at.openat(dirfd, name, K.O_PATH);
    for (const [key, value] of xattrs) at.setxattrOfPathFd(fd, key, value);
    closeSync(fd);
  }
  at.utimensat(dirfd, name, entry.mtimeNs);
}

function makeNode(dirfd: number, name: string, entry: Entry): number {
  if (entry.type === 'symlink') {
    if (entry.linkname === '') throw new ContainerError('a symbolic link to nothing');
    return at.symlinkat(entry.linkname, dirfd, name);
  }
  if (entry.type === 'fifo') return at.mknodat(dirfd, name, K.S_IFIFO | entry.mode, 0);
  const type = entry.type === 'char' ? K.S_IFCHR : K.S_IFBLK;
  return at.mknodat(dirfd, name, type | entry.mode, checkDevice(entry));
}
