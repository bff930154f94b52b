/**
 * The first page of the tour: system calls from Node by ffi-rs alone, and where that road ends.
 * As root: npm run example direct-ffi. What it changes is gone when it ends; nothing of it reaches the host.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { DataType, load, open } from 'ffi-rs';
import {
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  MS_PRIVATE,
  MS_REC,
} from '../src/core/kernel/constants.ts';

const { I32, I64, String: Text } = DataType;
open({ library: 'libc', path: 'libc.so.6' });

/** Calls a function of the C library. Throws with its errno, as strerror(3) words it, when it returns -1. */
function libc(funcName: string, paramsType: DataType[], paramsValue: (number | string)[]): void {
  const call = { library: 'libc', funcName, retType: I32, paramsType, paramsValue, errno: true } as const;
  const { value, errnoMessage } = load(call) as { value: number; errnoMessage: string };
  if (value === -1) throw new Error(`${funcName}(${paramsValue.join(', ')}): ${errnoMessage}`);
}
const unshare = (flags: number) => libc('unshare', [I32], [flags]);
const sethostname = (name: string) => libc('sethostname', [Text, I64], [name, Buffer.byteLength(name)]);
const mount = (source: string, target: string, type: string, flags: number) =>
  libc('mount', [Text, Text, Text, I64, I64], [source, target, type, flags, 0]); // data: NULL

// What works: new namespaces for this thread, and calls that act inside them.
unshare(CLONE_NEWUTS | CLONE_NEWNS);
mount('none', '/', 'none', MS_REC | MS_PRIVATE); // first of all: else the next mount would appear on the host as well
sethostname('inside');
mount('direct-ffi', '/mnt', 'tmpfs', 0);
console.log(`works: the host name is "${hostname()}", and a tmpfs is mounted on /mnt: ${mountsOn('/mnt')}`);

// First end: threads. unshare(2) acts on the thread that calls it; the others of Node stayed where they were.
const threads = readdirSync('/proc/self/task').map((id) => readlinkSync(`/proc/self/task/${id}/ns/mnt`));
const outside = threads.filter((namespace) => namespace !== readlinkSync('/proc/thread-self/ns/mnt')).length;
const [here, there] = [statSync('/mnt').dev, (await stat('/mnt')).dev];
console.log(`threads: ${outside} of ${threads.length} are still on the host`);
console.log(`  the same path: /mnt is device ${here} for fs.statSync, and device ${there} for fs.promises.stat`);

// Second end: a user namespace. The kernel refuses to give one to a single thread of a process.
try {
  unshare(CLONE_NEWUSER);
} catch (error) {
  console.log(`user namespace: ${(error as Error).message}: Node had ${threads.length} threads before our first line`);
}

// Third end: pid 1. Node itself stays outside; its next child is the first process inside, and with it the namespace dies.
unshare(CLONE_NEWPID);
const child = spawnSync('/bin/sh', ['-c', 'echo $$'], { encoding: 'utf8' });
const second = spawnSync('/bin/true');
console.log(
  `pid 1: Node is still ${process.pid}, its child was ${child.stdout.trim()}, the one after: ${second.error?.message}`,
);

// So the process inside has to be another one: fresh, with one thread, born in its namespaces. Ours is called the stage,
// and it does one thing: the system calls that it is sent. Read on in src/core/container/launch.ts.

function mountsOn(target: string): string {
  const lines = readFileSync('/proc/thread-self/mounts', 'utf8').split('\n');
  return lines.filter((line) => line.split(' ')[1] === target).join(', ');
}
