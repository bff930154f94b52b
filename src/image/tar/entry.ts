/**
 * What an archive says about one file, and who is told. Pure data, no side. Names and targets are byte strings: every
 * character is one byte of the archive (latin1), because a file's name on Linux is bytes and need not be UTF-8.
 */

export type EntryType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

/** A run of bytes that a sparse file really has; everything between the runs is a hole. */
export interface Extent {
  offset: number;
  length: number;
}

export interface Entry {
  type: EntryType;
  /** As in the archive, not cleaned: a byte string. */
  name: string;
  /** The target of a hard or symbolic link: a byte string, else empty. */
  linkname: string;
  /** The permission bits with setuid, setgid and sticky; no file type. */
  mode: number;
  uid: number;
  gid: number;
  /** Nanoseconds since the epoch, negative before it. */
  mtimeNs: bigint;
  devMajor: number;
  devMinor: number;
  /** The file's size in bytes, with its holes; 0 for everything but a file. */
  size: number;
  /** Values by full name, as in user.mime_type. */
  xattrs: ReadonlyMap<string, Buffer>;
  /** Only for a sparse file: in order, without overlap, within size. */
  extents?: readonly Extent[];
}

/** Gets the entries of an archive one after another. `data` comes only between `begin` and `end` of a file. */
export interface EntrySink {
  begin(entry: Entry): void;
  /** Bytes of the file and the position in it where they belong. The memory is lent for the time of the call. */
  data(chunk: Buffer, position: number): void;
  end(entry: Entry): void;
}

/** A byte string made readable for a message: UTF-8 where it is, with control characters escaped. */
export function shown(name: string): string {
  const text = Buffer.from(name, 'latin1').toString('utf8');
  const short = text.length > 200 ? `${text.slice(0, 100)}…${text.slice(-60)}` : text;
  return JSON.stringify(short);
}
