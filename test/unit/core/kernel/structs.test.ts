import { describe, expect, test } from 'vitest';
import * as structs from '../../../../src/core/kernel/structs.ts';
import { needs } from '../../../support/need.ts';
import { checkFacts, compilers } from './c-facts.ts';

/** One C struct, the bytes that structs.ts makes of it, and for each field its place, its size and the value written. */
interface Layout {
  c: string;
  bytes: Uint8Array;
  fields: Record<string, [offset: number, size: number, value: bigint]>;
}

const preamble = [
  '#define _GNU_SOURCE',
  ...[
    'stddef',
    'stdint',
    'sys/socket',
    'sys/resource',
    'sys/uio',
    'linux/openat2',
    'linux/mount',
    'linux/if',
    'signal',
  ].map((header) => `#include <${header}.h>`),
  ...['linux/capability', 'linux/filter', 'asm/termios', 'linux/stat', 'asm/statfs'].map(
    (header) => `#include <${header}.h>`,
  ),
  'struct cap_data2 { struct __user_cap_data_struct data[2]; };',
  'struct one_descriptor { struct cmsghdr header; int fd; };',
  'typedef uint32_t kernel_gid_t; struct two_gids { gid_t gids[2]; };',
].join('\n');

const layouts: Layout[] = [
  {
    c: 'struct open_how',
    bytes: structs.openHow(0x1_0002, 0o644, 0x14),
    fields: { flags: [0, 8, 0x1_0002n], mode: [8, 8, 0o644n], resolve: [16, 8, 0x14n] },
  },
  {
    c: 'struct mount_attr',
    bytes: structs.mountAttr(1, 2, 0x40000, 7),
    fields: {
      attr_set: [0, 8, 1n],
      attr_clr: [8, 8, 2n],
      propagation: [16, 8, 0x40000n],
      userns_fd: [24, 8, 7n],
    },
  },
  {
    c: 'struct rlimit64',
    bytes: structs.rlimit64(1024, -1),
    fields: { rlim_cur: [0, 8, 1024n], rlim_max: [8, 8, 2n ** 64n - 1n] },
  },
  {
    c: 'struct __user_cap_header_struct',
    bytes: structs.capHeader,
    fields: { version: [0, 4, 0x20080522n], pid: [4, 4, 0n] },
  },
  {
    c: 'struct cap_data2',
    bytes: structs.capData(0x1_0000_0002n, 0x3_0000_0004n, 0x5_0000_0006n),
    fields: {
      'data[0].effective': [0, 4, 2n],
      'data[0].permitted': [4, 4, 4n],
      'data[0].inheritable': [8, 4, 6n],
      'data[1].effective': [12, 4, 1n],
      'data[1].permitted': [16, 4, 3n],
      'data[1].inheritable': [20, 4, 5n],
    },
  },
  {
    c: 'struct sock_fprog',
    bytes: structs.sockFprog(300),
    fields: { len: [0, 2, 300n], filter: [8, 8, 0n] },
  },
  {
    c: 'struct two_gids',
    bytes: structs.gidList([5, 4294967294]),
    fields: { 'gids[0]': [0, 4, 5n], 'gids[1]': [4, 4, 4294967294n] },
  },
  {
    c: 'struct ifreq',
    bytes: structs.ifreq('lo', 1),
    fields: { ifr_name: [0, 16, 0x6f6cn], ifr_flags: [16, 2, 1n] },
  },
  {
    c: 'struct winsize',
    bytes: structs.winsize(24, 80),
    fields: { ws_row: [0, 2, 24n], ws_col: [2, 2, 80n], ws_xpixel: [4, 2, 0n], ws_ypixel: [6, 2, 0n] },
  },
  {
    c: 'struct msghdr',
    bytes: structs.msghdr(3, 24),
    fields: {
      msg_name: [0, 8, 0n],
      msg_iov: [16, 8, 0n],
      msg_iovlen: [24, 8, 3n],
      msg_control: [32, 8, 0n],
      msg_controllen: [40, 8, 24n],
      msg_flags: [48, 4, 0n],
    },
  },
  { c: 'struct iovec', bytes: structs.iovec(9), fields: { iov_base: [0, 8, 0n], iov_len: [8, 8, 9n] } },
  {
    c: 'struct one_descriptor',
    bytes: structs.descriptorMessage(1, 1, 6),
    fields: {
      'header.cmsg_len': [0, 8, 20n],
      'header.cmsg_level': [8, 4, 1n],
      'header.cmsg_type': [12, 4, 1n],
      fd: [16, 4, 6n],
    },
  },
];

/** Where the readers of structs.ts look. */
const read: [c: string, size: number, fields: Record<string, [offset: number, size: number]>][] = [
  [
    'struct statx',
    structs.STATX_SIZE,
    {
      stx_uid: [20, 4],
      stx_gid: [24, 4],
      stx_mode: [28, 2],
      stx_ino: [32, 8],
      stx_size: [40, 8],
      stx_rdev_major: [128, 4],
      stx_rdev_minor: [132, 4],
      stx_dev_major: [136, 4],
      stx_dev_minor: [140, 4],
    },
  ],
  ['siginfo_t', structs.SIGINFO_SIZE, { si_code: [8, 4], si_pid: [16, 4], si_status: [24, 4] }],
  ['struct statfs', 120, { f_type: [0, 8] }],
];

function facts(c: string, size: number, fields: Record<string, readonly [number, number, ...unknown[]]>) {
  return [
    [`sizeof(${c})`, size] as const,
    ...Object.entries(fields).flatMap(([name, [offset, length]]) => [
      [`offsetof(${c}, ${name})`, offset] as const,
      [`sizeof(((${c} *)0)->${name})`, length] as const,
    ]),
  ];
}

for (const compiler of compilers)
  describe(`headers of ${compiler.arch}`, needs({ command: compiler.command }), () => {
    test.each(layouts)('$c is laid out as C does', ({ c, bytes, fields }) => {
      expect(checkFacts(compiler, preamble, facts(c, bytes.length, fields))).toEqual({ wrong: [], unknown: [] });
    });

    test.each(read)('%s is read where C writes', (c, size, fields) => {
      expect(checkFacts(compiler, preamble, facts(c, size, fields))).toEqual({ wrong: [], unknown: [] });
    });

    test('constants that stand with the structs', () => {
      const values = [
        ['STATX_BASIC_STATS', structs.STATX_BASIC_STATS],
        ['CLD_EXITED', structs.CLD_EXITED],
        ['_LINUX_CAPABILITY_VERSION_3', 0x20080522],
        ['CMSG_LEN(sizeof(int))', 20],
        ['CMSG_SPACE(sizeof(int))', 24],
      ] as const;
      expect(checkFacts(compiler, preamble, values)).toEqual({ wrong: [], unknown: [] });
    });
  });

describe('bytes', () => {
  test.each(layouts)('of $c: each field stands in its place', ({ bytes, fields }) => {
    for (const [name, [offset, size, value]] of Object.entries(fields)) {
      const field = Buffer.from(bytes.subarray(offset, offset + size))
        .reverse()
        .toString('hex');
      expect([name, BigInt(`0x${field}`)]).toEqual([name, value]);
    }
  });

  test('of struct statx are read field by field', () => {
    const bytes = Buffer.alloc(structs.STATX_SIZE);
    for (const [name, [offset, size]] of Object.entries(read[0]![2])) bytes.fill(name.length, offset, offset + size);
    const repeated = (name: string, size: number) => BigInt(`0x${Buffer.alloc(size, name.length).toString('hex')}`);
    expect(structs.readStatx(bytes)).toEqual({
      uid: Number(repeated('stx_uid', 4)),
      gid: Number(repeated('stx_gid', 4)),
      mode: Number(repeated('stx_mode', 2)),
      inode: repeated('stx_ino', 8),
      size: Number(repeated('stx_size', 8)),
      rdevMajor: Number(repeated('stx_rdev_major', 4)),
      rdevMinor: Number(repeated('stx_rdev_minor', 4)),
      deviceMajor: Number(repeated('stx_dev_major', 4)),
      deviceMinor: Number(repeated('stx_dev_minor', 4)),
    });
  });

  test('of siginfo_t tell an exit from a signal', () => {
    const bytes = Buffer.alloc(structs.SIGINFO_SIZE);
    bytes.writeInt32LE(1, 8);
    bytes.writeInt32LE(4711, 16);
    bytes.writeInt32LE(3, 24);
    expect(structs.readChildStatus(bytes)).toEqual({ pid: 4711, exited: true, status: 3 });
    bytes.writeInt32LE(2, 8); // CLD_KILLED
    expect(structs.readChildStatus(bytes)).toMatchObject({ exited: false });
  });

  test.each([
    [1, 3, 0x103n],
    [8, 0xabcde, 0xabc008den],
    [0xfff, 0xff, 0xfffffn],
    [0x1000, 0, 0x1000_0000_0000n],
  ])('makedev(%d, %d)', (major, minor, device) => {
    expect(BigInt(structs.makedev(major, minor))).toBe(device);
  });
});
