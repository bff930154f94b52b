/** Pulls that are broken off, in all ways, and what the next one makes of it. Bytes are counted at the registry. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as a from '../../support/archives.ts';
import { breakOff, HostileRegistry } from '../../support/hostile-registry.ts';
import { needs } from '../../support/need.ts';
import { sha256 } from '../../support/registry.ts';
import { Engine, runProgram, until } from '../../support/tinyctr.ts';
import { addImage, blobFiles, checkNothingLeft, checkStore, configuration, startPull } from './support.ts';

const plain = a.archive(
  a.directory('d/'),
  ...Array.from({ length: 40 }, (_, i) => a.file(`d/${i}`, '', { data: noise(25_000) })),
);
const layer = gzipSync(plain);
const digest = sha256(layer);
const HALF = Math.floor(layer.length / 2);

function noise(bytes: number): Buffer {
  return randomBytes(bytes);
}

describe('interrupted pulls', needs({ root: true }), () => {
  let registry: HostileRegistry;
  let engine: Engine;
  let name: string;
  /** Bytes of the layer that went out. */
  let served = 0;
  beforeEach(async () => {
    registry = await HostileRegistry.start();
    registry.add('1', [layer], configuration([plain]));
    engine = new Engine();
    name = `${registry.host}/x:1`;
    served = 0;
  });
  afterEach(async () => {
    await registry.stop();
    engine.remove();
  });

  const partial = () => `${engine.root}/blobs/sha256/${digest.slice(7)}.partial`;
  const partialBytes = () => statSync(partial(), { throwIfNoEntry: false })?.size ?? 0;
  const layerRequests = () => registry.requests.filter(({ path }) => path.includes(digest));
  const good = async () => {
    const { code, stderr } = await engine.run('pull', name);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    checkNothingLeft(engine);
    const tree = `${engine.root}/layers/${sha256(plain).slice(7, 39)}/d`;
    expect(readdirSync(tree)).toHaveLength(40);
  };

  /** Sends half of the layer, `times` times, and then nothing more on that connection. */
  const stall = (times = 1) => {
    let left = times;
    registry.fault = ({ url = '', headers }, response) => {
      if (!url.includes(digest)) return false;
      const from = Number(/\d+/.exec(headers.range ?? '')?.[0] ?? 0);
      if (left-- <= 0) {
        served += layer.length - from;
        return false;
      }
      served += HALF;
      response.writeHead(200, { 'content-length': layer.length });
      response.write(layer.subarray(0, HALF));
      return true;
    };
  };
  const stalled = () => until('half of the layer', () => partialBytes() === HALF, 20_000);

  test('kill -9 in the middle: the next pull asks for the rest only', async () => {
    stall();
    const { child, result } = startPull(engine, name);
    await stalled();
    child.kill('SIGKILL');
    expect((await result).signal).toBe('SIGKILL');
    checkStore(engine);
    expect((await engine.run('images', '-q')).stdout).toBe('');
    expect(partialBytes()).toBe(HALF);
    await good();
    expect(layerRequests().map(({ range }) => range)).toEqual([undefined, `bytes=${HALF}-`]);
    expect(served).toBe(layer.length);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s: one sentence, %d, nothing half-made; cleanup takes the rest', async (signal, code) => {
    stall(2);
    for (let round = 0; round < 2; round++) {
      const { child, result } = startPull(engine, name);
      await stalled();
      child.kill(signal);
      const ended = await result;
      expect(ended.code).toBe(code);
      expect(ended.stderr).toMatch(new RegExp(`^tinyctr: the pull of ${name} was interrupted\n  hint: [^\n]*\n$`));
      expect(readdirSync(`${engine.root}/layers`)).toEqual([]);
      expect(partialBytes()).toBe(HALF);
      if (round === 1) break;
      await engine.run('cleanup');
      expect(partialBytes()).toBe(0);
      checkNothingLeft(engine);
    }
    await good();
    expect(served).toBe(HALF + layer.length);
  });

  test('a connection that breaks is made anew, and nothing comes twice', async () => {
    const cuts = [1000, 70_000, 300_000];
    registry.fault = ({ url = '', headers }, response) => {
      if (!url.includes(digest)) return false;
      const from = Number(/\d+/.exec(headers.range ?? '')?.[0] ?? 0);
      const to = cuts.find((cut) => cut > from) ?? layer.length;
      served += to - from;
      if (from === 0) breakOff(response, layer, to);
      else {
        response.writeHead(206, {
          'content-range': `bytes ${from}-${layer.length - 1}/${layer.length}`,
          'content-length': layer.length - from,
        });
        response.write(layer.subarray(from, to), () => to < layer.length && setTimeout(() => response.destroy(), 20));
        if (to === layer.length) response.end();
      }
      return true;
    };
    await good();
    expect(layerRequests()).toHaveLength(4);
    expect(served).toBe(layer.length);
  });

  test('a server that can not begin in the middle: what is there is not written twice', async () => {
    stall();
    const { child, result } = startPull(engine, name);
    await stalled();
    child.kill('SIGKILL');
    await result;
    registry.fault = ({ url = '' }, response) => {
      if (!url.includes(digest)) return false;
      response.writeHead(200, { 'content-length': layer.length }).end(layer);
      return true;
    };
    await good();
  });

  test.each([
    ['damaged at its beginning', (bytes: Buffer) => bytes.fill(0, 0, 100)],
    ['damaged in the middle', (bytes: Buffer) => bytes.fill(0, 1000, 1100)],
    ['damaged in the last bytes', (bytes: Buffer) => bytes.fill(0, bytes.length - 9)],
    ['longer than the layer', (bytes: Buffer) => Buffer.concat([bytes, layer, layer])],
    ['something else', () => Buffer.from('hello')],
  ])('what is left is %s: it is fetched once more from the start', async (_, damage) => {
    stall();
    const { child, result } = startPull(engine, name);
    await stalled();
    child.kill('SIGKILL');
    await result;
    writeFileSync(partial(), damage(readFileSync(partial())));
    await good();
  });

  test('a whole blob of the store that was damaged since is fetched once more', async () => {
    await good();
    const blob = `${engine.root}/blobs/sha256/${digest.slice(7)}`;
    const bytes = readFileSync(blob);
    await engine.run('rmi', name);
    writeFileSync(blob, Buffer.from(bytes).fill(7, 500, 600)); // as if a pull had died between the blob and the image
    await good();
    expect(readFileSync(blob).equals(bytes)).toBe(true);
  });

  test('a layer that ends too early, each time: one error, and what came stays', async () => {
    registry.fault = ({ url = '' }, response) => {
      if (!url.includes(digest)) return false;
      response.writeHead(200, { 'transfer-encoding': 'chunked' }).end(layer.subarray(0, HALF));
      return true;
    };
    const { code, stderr } = await engine.run('pull', name);
    expect(code).toBe(125);
    expect(stderr).toContain(`it ended after ${HALF} of ${layer.length} bytes`);
    expect(stderr.split('\n')).toHaveLength(2);
    expect(partialBytes()).toBe(HALF);
    checkStore(engine);
    registry.fault = () => false;
    await good();
  });

  test('other bytes than the digest says: one error, nothing stays', async () => {
    const other = gzipSync(a.archive(a.file('other', 'x'.repeat(1000))));
    const padded = Buffer.concat([other, Buffer.alloc(layer.length - other.length)]);
    for (const wrong of [padded, Buffer.from(layer).fill(0, 5000, 5001), randomBytes(layer.length)]) {
      registry.fault = ({ url = '' }, response) => {
        if (!url.includes(digest)) return false;
        response.end(wrong);
        return true;
      };
      const { code, stderr } = await engine.run('pull', name);
      expect(code).toBe(125);
      expect(stderr).toMatch(
        new RegExp(
          `^tinyctr: layer ${digest.slice(7, 19)} \\(1 of 1\\) is damaged: its digest is sha256:[0-9a-f]{64}, where the manifest says ${digest}\n$`,
        ),
      );
      expect(blobFiles(engine, '.partial')).toEqual([]);
      checkStore(engine);
    }
    expect(readdirSync(`${engine.root}/layers`)).toEqual([]);
    registry.fault = () => false;
    await good();
  });

  test.each([
    ['while the archive is written', 700],
    ['while the layer is unpacked', 1500],
  ])('a full disk %s: one error; with more room the next pull goes on', async (_, kilobytes) => {
    const script = `
      mkdir -p ${engine.root} && mount -t tmpfs -o size=${kilobytes}k store ${engine.root} || exit 99
      "$@" pull ${name} 2>${engine.folder}/first && exit 98
      ls ${engine.root}/layers ${engine.root}/images ${engine.root}/configs > ${engine.folder}/listing
      mount -o remount,size=64m ${engine.root} && "$@" pull ${name} && "$@" inspect ${name}`;
    const { code, stdout, stderr } = await runProgram('unshare', ['-m', 'sh', '-c', script, 'sh', ...engine.command]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(readFileSync(`${engine.folder}/first`, 'utf8')).toMatch(
      /^tinyctr: [^\n]*no space left on device[^\n]*\n( {2}\w+: [^\n]*\n)*$/,
    );
    expect(readFileSync(`${engine.folder}/listing`, 'utf8')).not.toMatch(/[0-9a-f]{32}|tmp-/);
    expect(stdout).toContain(sha256(plain));
    const [first, second] = layerRequests();
    expect(first?.range).toBeUndefined();
    if (second !== undefined) expect(second.range).toMatch(/^bytes=[1-9]/); // else all of it was there
  });
});

describe('two pulls at once', needs({ root: true }), () => {
  let registry: HostileRegistry;
  let engine: Engine;
  let name: string;
  beforeEach(async () => {
    registry = await HostileRegistry.start();
    engine = new Engine();
    name = `${registry.host}/x:1`;
  });
  afterEach(async () => {
    await registry.stop();
    engine.remove();
  });

  test('share the work: each layer is asked for once', async () => {
    const layers = Array.from({ length: 6 }, (_, i) => a.archive(a.file(`f${i}`, '', { data: noise(200_000) })));
    addImage(registry, '1', layers);
    const pulls = Array.from({ length: 3 }, () => startPull(engine, name));
    for (const { code, stderr } of await Promise.all(pulls.map(({ result }) => result)))
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const plainLayer of layers) {
      const asked = registry.requests.filter(({ path }) => path.endsWith(sha256(gzipSync(plainLayer))));
      expect(asked).toHaveLength(1);
    }
    checkNothingLeft(engine);
  });

  test('the first dies in the middle: the second takes over, and goes on from there', async () => {
    registry.add('1', [layer], configuration([plain]));
    let open = false;
    registry.fault = ({ url = '' }, response) => {
      if (open || !url.includes(digest)) return false;
      response.writeHead(200, { 'content-length': layer.length }).write(layer.subarray(0, HALF));
      return true;
    };
    const first = startPull(engine, name);
    const file = `${engine.root}/blobs/sha256/${digest.slice(7)}.partial`;
    await until('half of the layer', () => statSync(file, { throwIfNoEntry: false })?.size === HALF, 20_000);
    const second = startPull(engine, name);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    open = true;
    expect((await engine.run('cleanup')).code).toBe(0); // takes nothing away from either
    first.child.kill('SIGKILL');
    await first.result;
    expect(await second.result).toMatchObject({ code: 0, stderr: '' });
    const ranges = registry.requests.filter(({ path }) => path.includes(digest)).map(({ range }) => range);
    expect(ranges).toEqual([undefined, `bytes=${HALF}-`]);
    await engine.run('cleanup');
    checkNothingLeft(engine);
  });
});
