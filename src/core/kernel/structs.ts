/** C structs of the kernel's interface as bytes; the C field stands beside each write. Little endian, as x86-64 and arm64 are. */

function struct(size: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  write(new DataView(bytes.buffer));
  return bytes;
}

/** struct open_how { u64 flags, mode, resolve }. Source: openat2(2). */
export function openHow(flags: number, mode: number, resolve: number): Uint8Array {
  return struct(24, (view) => {
    view.setBigUint64(0, BigInt(flags), true); // flags
    view.setBigUint64(8, BigInt(mode), true); // mode
    view.setBigUint64(16, BigInt(resolve), true); // resolve
  });
}

/** struct mount_attr { u64 attr_set, attr_clr, propagation, userns_fd }. Source: mount_setattr(2). */
export function mountAttr(attrSet: number, attrClr: number, propagation: number, usernsFd: number): Uint8Array {
  return struct(32, (view) => {
    view.setBigUint64(0, BigInt(attrSet), true); // attr_set
    view.setBigUint64(8, BigInt(attrClr), true); // attr_clr
    view.setBigUint64(16, BigInt(propagation), true); // propagation
    view.setBigUint64(24, BigInt(usernsFd), true); // userns_fd
  });
}

/** struct clone_args, its first version of 64 bytes: flags only, so no exit_signal. Source: clone(2). */
export function cloneArgs(flags: number): Uint8Array {
  return struct(64, (view) => view.setBigUint64(0, BigInt(flags), true)); // flags
}

/** struct rlimit64 { u64 rlim_cur, rlim_max }; -1 is RLIM_INFINITY. Source: prlimit64(2). */
export function rlimit64(soft: number, hard: number): Uint8Array {
  return struct(16, (view) => {
    view.setBigInt64(0, BigInt(soft), true); // rlim_cur
    view.setBigInt64(8, BigInt(hard), true); // rlim_max
  });
}

/** struct __user_cap_header_struct { u32 version; int pid }: version 3, this process. Source: capset(2). */
export const capHeader = struct(8, (view) => view.setUint32(0, 0x20080522, true));

/** struct __user_cap_data_struct[2] { u32 effective, permitted, inheritable }, from three 64-bit sets. Source: capset(2). */
export function capData(effective: bigint, permitted: bigint, inheritable: bigint): Uint8Array {
  return struct(24, (view) => {
    for (const [i, set] of [effective, permitted, inheritable].entries()) {
      view.setUint32(4 * i, Number(set & 0xffffffffn), true); // data[0]
      view.setUint32(12 + 4 * i, Number(set >> 32n), true); // data[1]
    }
  });
}

/** struct sock_fprog { u16 len; struct sock_filter *filter }: the pointer at offset 8 is the frame's business. */
export function sockFprog(instructions: number): Uint8Array {
  return struct(16, (view) => view.setUint16(0, instructions, true));
}

/** gid_t[] for setgroups(2). */
export function gidList(gids: readonly number[]): Uint8Array {
  return struct(4 * gids.length, (view) => {
    for (const [i, gid] of gids.entries()) view.setUint32(4 * i, gid, true);
  });
}

/** struct ifreq { char ifr_name[16]; short ifr_flags } of 40 bytes. Source: netdevice(7). */
export function ifreq(name: string, flags: number): Uint8Array {
  return struct(40, (view) => {
    new Uint8Array(view.buffer).set(Buffer.from(name), 0); // ifr_name
    view.setInt16(16, flags, true); // ifr_flags
  });
}

/** struct winsize { u16 ws_row, ws_col, ws_xpixel, ws_ypixel }. Source: tty_ioctl(4). */
export function winsize(rows: number, columns: number): Uint8Array {
  return struct(8, (view) => {
    view.setUint16(0, rows, true); // ws_row
    view.setUint16(2, columns, true); // ws_col
  });
}

/** struct msghdr for sendmsg(2): the pointers (msg_iov at 16, msg_control at 32) are the frame's business. */
export function msghdr(iovecs: number, controlLength: number): Uint8Array {
  return struct(56, (view) => {
    view.setBigUint64(24, BigInt(iovecs), true); // msg_iovlen
    view.setBigUint64(40, BigInt(controlLength), true); // msg_controllen
  });
}

/** struct iovec { void *iov_base; size_t iov_len }: the pointer at offset 0 is the frame's business. */
export function iovec(length: number): Uint8Array {
  return struct(16, (view) => view.setBigUint64(8, BigInt(length), true));
}

/** struct cmsghdr { size_t cmsg_len; int cmsg_level, cmsg_type } with one descriptor, padded. Source: cmsg(3), unix(7). */
export function descriptorMessage(level: number, type: number, fd: number): Uint8Array {
  return struct(24, (view) => {
    view.setBigUint64(0, 20n, true); // cmsg_len
    view.setInt32(8, level, true); // cmsg_level
    view.setInt32(12, type, true); // cmsg_type
    view.setInt32(16, fd, true);
  });
}

export interface FileStatus {
  /** Type and permissions: S_IFMT says which type. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes. */
  size: number;
  rdevMajor: number;
  rdevMinor: number;
  inode: bigint;
  deviceMajor: number;
  deviceMinor: number;
}

export const STATX_SIZE = 256;
export const STATX_BASIC_STATS = 0x7ff;

/** struct statx. Source: statx(2). */
export function readStatx(bytes: Uint8Array): FileStatus {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    uid: view.getUint32(20, true), // stx_uid
    gid: view.getUint32(24, true), // stx_gid
    mode: view.getUint16(28, true), // stx_mode
    inode: view.getBigUint64(32, true), // stx_ino
    size: Number(view.getBigUint64(40, true)), // stx_size
    rdevMajor: view.getUint32(128, true), // stx_rdev_major
    rdevMinor: view.getUint32(132, true), // stx_rdev_minor
    deviceMajor: view.getUint32(136, true), // stx_dev_major
    deviceMinor: view.getUint32(140, true), // stx_dev_minor
  };
}

/** dev_t as mknod(2) takes it. Source: makedev(3). */
export function makedev(major: number, minor: number): number {
  const high = (BigInt(major) & 0xfffff000n) << 32n;
  return Number(
    high | ((BigInt(major) & 0xfffn) << 8n) | ((BigInt(minor) & 0xffffff00n) << 12n) | (BigInt(minor) & 0xffn),
  );
}

/** siginfo_t as waitid(2) fills it for a child: si_code at 8, si_pid at 16, si_status at 24. */
export const SIGINFO_SIZE = 128;
export const CLD_EXITED = 1;

export function readChildStatus(bytes: Uint8Array): { pid: number; exited: boolean; status: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    exited: view.getInt32(8, true) === CLD_EXITED, // si_code
    pid: view.getInt32(16, true), // si_pid
    status: view.getInt32(24, true), // si_status
  };
}
