/** The supervisor's socket: who comes at once finds one supervisor, and what is no request disturbs nobody. */
import { linkSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PROTOCOL } from '../../src/supervisor/protocol.ts';
import { needs } from '../support/need.ts';
import { Engine, readIfThere, until } from '../support/tinyctr.ts';

const PATIENCE_MS = 45_000;
let engine: Engine;
let path: string;
const open: Socket[] = [];
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
  path = `${engine.runRoot}/.supervisor.sock`;
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

interface Supervisor {
  pid: number;
  keeperPid: number;
}
const supervisor = async () =>
  (JSON.parse(await engine.must('info', '--format', 'json')) as { supervisor: Supervisor }).supervisor;

/** Processes that were given this engine's run root, by what their command line has beside it. */
function processes(word: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  const wanted = (words: string[]) => words.includes(engine.runRoot) && words.some((each) => each.endsWith(word));
  return pids.filter((pid) => wanted(readIfThere(`/proc/${pid}/cmdline`).split('\0'))).map(Number);
}

interface Client {
  socket: Socket;
  /** All that has come. */
  heard: () => string;
  closed: Promise<void>;
}

/** Reads, unless it is told not to. */
async function client({ reads = true } = {}): Promise<Client> {
  const socket = createConnection({ path, allowHalfOpen: true });
  open.push(socket);
  let text = '';
  socket.on('error', () => {}); // EPIPE: it was hung up on
  const closed = new Promise<void>((resolve) => {
    socket.once('end', resolve).once('close', resolve);
  });
  if (reads) socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await new Promise((resolve) => socket.once('connect', resolve));
  if (reads) await until('it is greeted', () => text.includes('\n'), PATIENCE_MS);
  return { socket, heard: () => text, closed };
}

describe('at once', needs({ root: true }), () => {
  test('twenty commands on a fresh run root: one keeper, one supervisor', async () => {
    expect(processes('/keeper')).toEqual([]);
    const words = [
      ['ps'],
      ['info'],
      ['run', '-d', 'busybox', 'sleep', '1000'],
      ['run', '-d', '--rm', 'busybox', 'true'],
    ];
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => engine.run(...words[i % words.length]!)));
    expect(all.filter(({ code, stderr }) => code !== 0 || stderr !== '')).toEqual([]);
    const { pid, keeperPid } = await supervisor();
    await until('the others have gone', () => processes('/keeper').length === 1, PATIENCE_MS);
    expect(processes('/keeper')).toEqual([keeperPid]);
    expect(processes('/tinyctr-supervisor.cjs')).toEqual([pid]);
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    await until('those that end have ended', () => engine.states().length === 5, PATIENCE_MS);
    expect((await engine.must('ps', '-q')).split('\n')).toHaveLength(5);
    await engine.must('rm', '-f', ...engine.containers());
  });
});

describe('what is no request', needs({ root: true }), () => {
  const nonsense = /^\{"protocol".*\n\{"error":\{"message":"the supervisor can't make sense of .*\n$/;
  test.each([
    ['garbage', '\x00\xff\x01garbage'],
    ['no object', '7'],
    ['null', 'null'],
    ['an id that is a path', `{"op":"start","root":"/tmp","id":"../../etc"}`],
    ['a root that is none', `{"op":"start","root":7,"id":"${'a'.repeat(64)}"}`],
  ])('%s', async (_, line) => {
    const { pid } = await supervisor();
    const { socket, heard, closed } = await client();
    socket.write(`${line}\n`);
    await closed;
    expect(heard()).toMatch(nonsense);
    expect((await supervisor()).pid).toBe(pid);
  });

  test('a request that it does not know', async () => {
    await supervisor();
    const { socket, heard, closed } = await client();
    socket.write(`${JSON.stringify({ op: 'dance', root: '/tmp', id: 'a'.repeat(64) })}\n`);
    await closed;
    expect(heard()).toMatch(/the supervisor knows no \\"dance\\"/);
  });

  test('half a line, a line of ten megabytes, and those who say nothing or never read: others don’t notice', async () => {
    const { pid } = await supervisor();
    const half = await client();
    half.socket.end('{"op":"sta');
    const [silent, deaf, long] = [await client(), await client({ reads: false }), await client()];
    deaf.socket.write('{"op":'); // and it stays like that
    long.socket.write('x'.repeat(10 << 20));
    await half.closed;
    expect(half.heard().trim().split('\n')).toHaveLength(1);
    const id = await engine.must('run', '-d', 'busybox', 'sh', '-c', 'echo done; exit 6');
    expect(await engine.must('wait', id)).toBe('6');
    expect(await engine.must('logs', id)).toBe('done');
    await long.closed;
    expect(long.heard().trim().split('\n')).toHaveLength(1);
    expect((await supervisor()).pid).toBe(pid);
    expect(silent.socket.destroyed).toBe(false);
    await engine.must('rm', id);
  });

  test('a container’s input: what is no word ends that connection, and the container goes on', async () => {
    const id = await engine.must('run', '-d', '-i', 'busybox', 'cat');
    const { socket, heard, closed } = await client();
    socket.write(`${JSON.stringify({ op: 'input', root: engine.root, id })}\n`);
    await until('it may come', () => heard().includes('ready'), PATIENCE_MS);
    socket.write('{"bytes": 7}\n');
    await closed;
    expect(await engine.must('ps', '-q', '--no-trunc')).toBe(id);
    await engine.must('rm', '-f', id);
  });
});

test('a supervisor of another version is named', needs({ root: true }), async () => {
  const other = new Engine();
  mkdirSync(other.runRoot, { mode: 0o700 });
  const hello = `${JSON.stringify({ protocol: PROTOCOL + 1, pid: 4711, keeperPid: 4710 })}\n`;
  const server = createServer((socket) => socket.write(hello)).listen(`${other.runRoot}/.supervisor.sock`);
  try {
    const { code, stderr } = await other.run('info');
    expect(code).toBe(125);
    expect(stderr).toMatch(new RegExp(`speaks protocol ${PROTOCOL + 1}, this tinyctr ${PROTOCOL}\n.*kill 4711`));
  } finally {
    server.close();
    other.remove();
  }
});

test('a socket that nobody listens at is none', needs({ root: true }), async () => {
  await engine.quiet();
  const server = createServer().listen(path);
  await new Promise((resolve) => server.once('listening', resolve));
  const left = `${path}.left`;
  linkSync(path, left); // closing removes the name
  await new Promise((resolve) => server.close(resolve));
  renameSync(left, path);
  expect((await supervisor()).pid).toBeGreaterThan(1);
});
