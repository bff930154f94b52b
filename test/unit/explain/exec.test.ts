/** The files are real, and so is this process, whose root is looked through: only the execve is left out. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hostMachine, machineName } from '../../../src/explain/elf.ts';
import { findExecFault } from '../../../src/explain/exec.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/tinyctr-explain-`);
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array, mode = 0o755): string {
  const path = `${folder}/${name}`;
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

const fault = (path: string, code: string, cwd = '/') => findExecFault(path, code, cwd, process.pid);

/** A header, no program headers. */
function elf(machine: number, type = 2): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01', 'latin1');
  header.writeUInt16LE(type, 16);
  header.writeUInt16LE(machine, 18);
  return header;
}

test('nothing is wrong with a program, a script, and a script of a script', () => {
  const script = file('good', '#!/bin/sh\n');
  for (const path of ['/bin/sh', process.execPath, script, file('good2', `#! \t${script} -e\n`)])
    expect(fault(path, 'ENOENT')).toBeUndefined();
});

test('an interpreter that is not there is named (E1)', () => {
  expect(fault(file('a', '#!/no/such/interpreter -x\n'), 'ENOENT')).toEqual({
    text: 'its #! line names "/no/such/interpreter", which does not exist',
  });
});

test('and so is one further down', () => {
  const inner = file('inner', '#!/no/such\n');
  expect(fault(file('outer', `#!${inner}\n`), 'ENOENT')?.text).toBe(
    `its #! line names "${inner}", whose #! line names "/no/such", which does not exist`,
  );
});

test('CRLF is mentioned (E1)', () => {
  const path = file('crlf', '#!/bin/sh\r\necho\r\n');
  expect(fault(path, 'ENOENT')).toEqual({
    text: 'its #! line names "/bin/sh\\r", which does not exist',
    hint: `its lines end in CRLF, as on Windows: sed -i 's/\\r$//' ${path}`,
  });
});

test('a relative interpreter is looked for in the working directory', () => {
  const path = file('relative', '#!interpreter\n');
  expect(fault(path, 'ENOENT', folder)?.text).toContain('"interpreter", which does not exist');
  file('interpreter', '#!/bin/sh\n');
  expect(fault(path, 'ENOENT', folder)).toBeUndefined();
  expect(fault('relative', 'ENOENT', folder)).toBeUndefined();
});

test('an ELF loader that is not there is named, and the C library that is', () => {
  const program = Buffer.from(readFileSync('/bin/sh'));
  const at = program.indexOf('/ld-');
  program.write('/no-', at); // /lib64/ld-linux-…: the same length
  const found = fault(file('foreign', program), 'ENOENT');
  expect(found?.text).toMatch(/^its ELF loader is "\/lib.*\/no-.*", which does not exist$/);
  expect(found?.hint).toMatch(/^the container has (glibc|musl) \(.*\): the program was linked with another C library$/);
});

test('a program for another machine (E2)', () => {
  const other = hostMachine === 62 ? 183 : 62;
  const host = machineName(hostMachine);
  expect(fault(file('other', elf(other)), 'ENOEXEC')).toEqual({
    text: `it is a program for ${machineName(other)}, this host is ${host}`,
    hint: `take an image for linux/${host}`,
  });
});

test.each([
  ['no #! line', 'echo hello\n', 'it has no #! line'],
  ['nothing', '', 'it is empty'],
  ['an unknown format', Buffer.from([0xca, 0xfe, 0xba, 0xbe]), /neither an ELF program nor a script.* cafebabe$/],
  ['a #! line without a name', '#! \n', 'its #! line names no interpreter'],
  ['an object file', elf(hostMachine, 1), 'it is an ELF file of type 1, not a program'],
  ['half of a program', elf(hostMachine), 'it is a damaged ELF file'],
])('%s (E2)', (_, content, text) => {
  const found = fault(file('format', content), 'ENOEXEC');
  if (typeof text === 'string') expect(found?.text).toBe(text);
  else expect(found?.text).toMatch(text);
});

test('what kind of file it is has no part in another error', () => {
  expect(fault(file('text', 'echo hello\n'), 'E2BIG')).toBeUndefined();
  expect(fault(file('half', elf(hostMachine)), 'ENOMEM')).toBeUndefined();
});

test('an interpreter that is a directory, or is not executable (E3)', () => {
  expect(fault(file('directory', '#!/bin\n'), 'EACCES')?.text).toBe('its #! line names "/bin", which is a directory');
  const plain = file('plain', '', 0o644);
  expect(fault(file('script', `#!${plain}\n`), 'EACCES')?.text).toMatch(
    /which can't be executed: the mode of \S+\/plain is 0644 \(\d+:\d+\), the process is \d+:\d+$/,
  );
});

test('a FIFO is not opened', () => {
  execFileSync('sh', ['-c', `mkfifo ${folder}/fifo`]);
  expect(fault(`${folder}/fifo`, 'EACCES')?.text).toBe('it is not a regular file');
});

test('five scripts in a row, and no more', () => {
  symlinkSync('loop', `${folder}/alias`);
  expect(fault(file('loop', `#!${folder}/alias\n`), 'ELOOP')?.text).toMatch(/one interpreter too many$/);
});

test('links lead nowhere outside of the root that is looked through, and not to descriptors', () => {
  mkdirSync(`${folder}/sub`);
  symlinkSync('/proc/self/fd/0', `${folder}/sub/magic`);
  expect(() => fault(`${folder}/sub/magic`, 'ENOENT')).toThrow('openat2');
});

test('no descriptor is left open', () => {
  for (const name of ['good2', 'a', 'crlf', 'foreign', 'format', 'loop', 'fifo']) fault(`${folder}/${name}`, 'ENOEXEC');
  // Only what lies in the folder: the test runner opens and closes descriptors of its own meanwhile.
  const open = execFileSync('sh', ['-c', `ls -l /proc/${process.pid}/fd 2>/dev/null; :`]).toString(); // one may be gone when ls comes to it
  expect(open).toContain('/dev/');
  expect(open).not.toContain(folder);
});
