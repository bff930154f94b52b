/** The registry client against a registry that is slow, broken or malicious: an error in one sentence, or none at all. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Blob, Repository } from '../../../src/registry/client.ts';
import type { RegistrySettings } from '../../../src/registry/settings.ts';
import { breakOff, endless, type Fault, HostileRegistry, on, refuse } from '../../support/hostile-registry.ts';
import { sha256 } from '../../support/registry.ts';

const folder = mkdtempSync(`${tmpdir()}/tinyctr-hostile-`);
const layer = randomBytes(400_000);
const digest = sha256(layer);
let registry: HostileRegistry;
let manifestDigest: string;
let open: Repository[] = [];
let warnings: string[] = [];

beforeEach(async () => {
  registry = await HostileRegistry.start();
  manifestDigest = registry.add('1', [layer]);
});
afterEach(async () => {
  for (const repository of open) repository.close();
  open = [];
  warnings = [];
  await registry.stop();
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function repository(
  settings: Partial<RegistrySettings> = {},
  signal?: AbortSignal,
  domain = registry.host,
): Repository {
  const surroundings = {
    env: { HOME: '/nonexistent' },
    mirrorsFile: '/nonexistent',
    backoffMs: 5,
    stallMs: 3000,
    warn: (text: string) => warnings.push(text),
  };
  const made = new Repository(
    { domain, path: 'team/thing' },
    { settings: { ...surroundings, ...settings }, ...(signal ? { signal } : {}) },
  );
  open.push(made);
  return made;
}

async function bytesOf({ stream }: Blob): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const asked = (pattern: RegExp) => registry.requests.filter(({ path }) => pattern.test(path)).length;
const failing = (promise: Promise<unknown>): Promise<Error & { hint?: string; status?: number }> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error) => error,
  );

describe('a manifest', () => {
  test('other than its digest is refused', async () => {
    registry.manifests.set(manifestDigest, Buffer.from('{"schemaVersion": 2}'));
    const { message } = await failing(repository().manifest(manifestDigest));
    expect(message).toContain(`not ${manifestDigest}`);
    expect(asked(/manifests/)).toBe(1);
  });

  test('other than the registry says is refused', async () => {
    registry.fault = on(/manifests/, (_, response) =>
      response.setHeader('docker-content-digest', manifestDigest).end('{"schemaVersion": 2}'),
    );
    expect((await failing(repository().manifest('1'))).message).toContain('the registry sent something else');
  });

  test('that is called two things is refused', async () => {
    const type = 'application/vnd.oci.image.index.v1+json';
    registry.fault = on(/manifests/, (_, response) =>
      response.setHeader('content-type', type).end(registry.manifests.get('1')),
    );
    expect((await failing(repository().manifest('1'))).message).toMatch(
      /calls itself .*manifest.v1\+json.* calls it .*index/,
    );
  });

  test('of 4 MiB is the most, announced or endless', async () => {
    registry.fault = on(/manifests/, (_, response) => endless(response));
    expect((await failing(repository().manifest('1'))).message).toMatch(/team\/thing:1 is larger than 4194304 bytes/);
    registry.fault = on(/manifests/, (_, response) =>
      response.writeHead(200, { 'content-length': 4194305 }).write('{'),
    );
    expect((await failing(repository().manifest('1'))).message).toMatch(/larger than 4194304 bytes/);
  });

  test('that breaks off is asked for again', async () => {
    registry.fault = on(/manifests/, (_, response) => breakOff(response, registry.manifests.get('1')!, 10), 2);
    expect((await repository().manifest('1')).digest).toBe(manifestDigest);
    expect(asked(/manifests/)).toBe(3);
  });
});

describe('a registry that fails', () => {
  test('503 twice, then fine', async () => {
    registry.fault = on(/manifests/, (_, response) => refuse(response, 503, 'UNAVAILABLE', 'soon'), 2);
    expect((await repository().manifest('1')).digest).toBe(manifestDigest);
    expect(asked(/manifests/)).toBe(3);
  });

  test('503 for ever: five attempts, and the text of the last', async () => {
    registry.fault = on(/manifests/, (_, response) => refuse(response, 503, 'UNAVAILABLE', 'soon'));
    const { message } = await failing(repository().manifest('1'));
    expect(message).toMatch(
      /answers 503 Service Unavailable to: pull team\/thing:1: UNAVAILABLE: soon \(5 attempts\)$/,
    );
    expect(asked(/manifests/)).toBe(5);
  });

  test('429: Retry-After is waited for', async () => {
    registry.fault = on(
      /manifests/,
      (_, response) => refuse(response.setHeader('retry-after', '1'), 429, 'TOOMANYREQUESTS', 'slow'),
      1,
    );
    const start = performance.now();
    expect((await repository().manifest('1')).digest).toBe(manifestDigest);
    expect(performance.now() - start).toBeGreaterThan(950);
  });

  test('429 with hours to wait: said at once, with what helps', async () => {
    registry.fault = on(/manifests/, (_, response) =>
      refuse(
        response.setHeader('retry-after', '7200'),
        429,
        'TOOMANYREQUESTS',
        'You have reached your pull rate limit.',
      ),
    );
    const { message, hint } = await failing(repository().manifest('1'));
    expect(message).toContain('You have reached your pull rate limit.; it says to wait 7200 s');
    expect(hint).toContain(`tinyctr login ${registry.host}`);
    expect(asked(/manifests/)).toBe(1);
  });

  test.each([401, 403, 404, 400, 501])('%i is asked once', async (status) => {
    registry.fault = on(/manifests/, (_, response) =>
      refuse(response.setHeader('www-authenticate', 'Basic realm="x"'), status, 'DENIED', 'no'),
    );
    expect(await failing(repository().manifest('1'))).toMatchObject({ status });
    expect(asked(/manifests/)).toBe(1);
  });

  test('what it says is printable and short', async () => {
    const evil = `\u001b[2J\u0007\u202eoops\r\n${'x'.repeat(5000)}`;
    registry.fault = on(/manifests/, (_, response) => refuse(response, 400, 'BAD', evil));
    const { message } = await failing(repository().manifest('1'));
    expect(message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(message.length).toBeLessThan(400);
    expect(message).toContain('oops');
  });

  test('a header that is huge, an answer that is no HTTP, and none at all', async () => {
    registry.fault = on(/manifests/, (_, response) => response.setHeader('x-much', 'x'.repeat(100_000)).end());
    expect((await failing(repository().manifest('1'))).message).toMatch(/the header of its answer is too large/);
    registry.fault = on(/manifests/, (request) => request.socket.end('220 smtp.example ESMTP\r\n'));
    expect((await failing(repository().manifest('1'))).message).toMatch(/^127\.0\.0\.1:\d+: /);
    registry.fault = on(/manifests/, () => {});
    const { message } = await failing(repository({ stallMs: 300, tries: 2 }).manifest('1'));
    expect(message).toMatch(/no answer in time \(2 attempts\)/);
  });

  test('no registry: one attempt', async () => {
    await registry.stop();
    const { message } = await failing(repository().manifest('1'));
    expect(message).toMatch(/^127\.0\.0\.1:\d+: nothing listens there/);
    registry = await HostileRegistry.start();
  });

  test('WWW-Authenticate that nobody understands', async () => {
    for (const header of ['Negotiate', 'Bearer', 'Bearer realm="', 'Bearer realm="ftp://x/"', ', ,', '\u0001']) {
      registry.fault = on(/manifests/, (_, response) => {
        response.writeHead(401, header === '\u0001' ? {} : { 'www-authenticate': header }).end();
      });
      const { message } = await failing(repository().manifest('1'));
      expect(message).toMatch(/a way that is not known|the token server of/);
    }
  });
});

describe('a blob', () => {
  const read = async (settings?: Partial<RegistrySettings>, from = 0) =>
    await bytesOf(await repository(settings).blob(digest, layer.length, from));

  test('goes on where the connection broke, by Range', async () => {
    registry.fault = on(/blobs/, (_, response) => breakOff(response, layer, 100_000), 1);
    expect((await read()).equals(layer)).toBe(true);
    const ranges = registry.requests.filter(({ path }) => /blobs/.test(path)).map(({ range }) => range);
    expect(ranges).toHaveLength(2);
    expect(ranges[1]).toMatch(/^bytes=\d+-$/);
  });

  test('goes on where Range is ignored: what is known is passed over', async () => {
    let broken = false;
    registry.fault = on(/blobs/, (_, response) => {
      if (broken) return void response.end(layer);
      broken = true;
      breakOff(response, layer, 100_000);
    });
    expect((await read()).equals(layer)).toBe(true);
    const blob = await repository().blob(digest, layer.length, 1000);
    expect(blob.start).toBe(0);
    expect((await bytesOf(blob)).equals(layer)).toBe(true);
  });

  test('that breaks off each time ends with an error', async () => {
    registry.fault = on(/blobs/, (_, response) => breakOff(response, layer, 0));
    expect((await failing(read())).message).toMatch(/closed before the end of the answer \(5 attempts\)/);
    expect(asked(/blobs/)).toBe(5);
  });

  test('without its end, and without Content-Length, is not taken for whole', async () => {
    registry.fault = on(/blobs/, (_, response) => response.end(layer.subarray(0, 1000)));
    expect((await failing(read())).message).toMatch(/it has 1000 bytes there, and should have 400000/);
    registry.fault = on(/blobs/, (_, response) => {
      response.write(layer.subarray(0, 1000));
      response.end();
    });
    expect((await failing(read())).message).toMatch(/it ended after 1000 of 400000 bytes \(5 attempts\)/);
  });

  test('longer than it should be is cut', async () => {
    registry.fault = on(/blobs/, (_, response) => endless(response));
    expect((await failing(read())).message).toMatch(/more than the 400000 bytes that it should have/);
  });

  test('that stalls is asked for again', async () => {
    registry.fault = on(
      /blobs/,
      (_, response) => response.writeHead(200, { 'content-length': layer.length }).write(layer.subarray(0, 1000)),
      1,
    );
    expect((await read({ stallMs: 500 })).equals(layer)).toBe(true);
  });

  test('of which other bytes come than were asked for', async () => {
    registry.fault = on(/blobs/, (_, response) =>
      response.writeHead(206, { 'content-range': 'bytes 5-9/10' }).end('12345'),
    );
    expect((await failing(read({}, 1000))).message).toMatch(/other bytes came than those from 1000 on/);
  });

  test('that is let go of lets go of its connection', async () => {
    let closed = false;
    registry.fault = on(/blobs/, (_, response) => {
      response.on('close', () => {
        closed = true;
      });
      endless(response);
    });
    const { stream } = await repository().blob(digest, undefined, 0);
    await new Promise((resolve) => stream.once('data', resolve));
    stream.destroy();
    await expect.poll(() => closed, { timeout: 5000 }).toBe(true);
  });

  test('is aborted by the signal, while it stalls, too', async () => {
    const controller = new AbortController();
    registry.fault = on(/blobs/, (_, response) =>
      response.writeHead(200, { 'content-length': layer.length }).write('x'),
    );
    const { stream } = await repository({}, controller.signal).blob(digest, layer.length, 0);
    setTimeout(() => controller.abort(new Error('enough')), 100);
    const error = await failing(
      (async () => {
        for await (const _ of stream);
      })(),
    );
    expect(error.message).toBe('enough');
  });

  test('with a name that is no digest is not asked for', async () => {
    await expect(repository().blob('sha256:../../x', 1, 0)).rejects.toThrow(/is no digest/);
    expect(registry.requests).toEqual([]);
  });
});

describe('redirects', () => {
  test('the password does not go to another port, and comes back with its own server', async () => {
    const other = await HostileRegistry.start();
    other.add('1', [layer]);
    registry.fault = (request, response) => {
      if (request.headers.authorization !== `Basic ${Buffer.from('joe:sesame').toString('base64')}`) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        return true;
      }
      return on(/blobs/, (_, answer) =>
        answer.writeHead(307, { location: `http://${other.host}/v2/a/blobs/${digest}` }).end(),
      )(request, response);
    };
    const made = withPassword(registry.host);
    expect((await bytesOf(await made.blob(digest, layer.length, 0))).equals(layer)).toBe(true);
    expect(other.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
    expect((await made.manifest('1')).digest).toBe(manifestDigest);
    await other.stop();
  });

  test('a 401 of the other server gets no password', async () => {
    const other = await HostileRegistry.start();
    other.fault = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    };
    registry.fault = on(/blobs/, (_, response) => response.writeHead(302, { location: `http://${other.host}/` }).end());
    await failing(withPassword(registry.host).blob(digest, layer.length, 0));
    expect(other.requests).toHaveLength(1);
    expect(other.requests[0]!.authorization).toBeUndefined();
    await other.stop();
  });

  test('in a circle end after ten', async () => {
    registry.fault = on(/blobs/, (request, response) => response.writeHead(307, { location: request.url! }).end());
    expect((await failing(repository().blob(digest, undefined, 0))).message).toMatch(/has 10 times before/);
    expect(asked(/blobs/)).toBe(11);
  });

  test('to something that is not http are not followed', async () => {
    for (const location of ['file:///etc/passwd', 'http://', 'gopher://x/']) {
      registry.fault = on(/blobs/, (_, response) => response.writeHead(307, { location }).end());
      expect((await failing(repository().blob(digest, undefined, 0))).message).toMatch(/redirects to/);
    }
  });
});

describe('an upload', () => {
  const push = (made: Repository) => made.pushBlob(digest, layer.length, () => Readable.from([layer]));
  /** Takes uploads, which begin at `location`; `put` answers the blob's request when all of it is there. */
  const uploads =
    (location: string, put: (response: ServerResponse, received: number) => void): Fault =>
    (request, response) => {
      if (request.method === 'POST') response.writeHead(202, { location }).end();
      if (request.method === 'PUT') {
        let received = 0;
        request.on('data', (chunk: Buffer) => {
          received += chunk.length;
        });
        request.on('end', () => put(response, received));
      }
      return request.method !== 'GET';
    };

  test('that fails twice begins anew, with the blob from its start', async () => {
    const sizes: number[] = [];
    registry.fault = uploads('/up?state=a%20b', (response, received) => {
      if (sizes.push(received) < 3) refuse(response, 503, 'UNAVAILABLE', 'soon');
      else response.writeHead(201).end();
    });
    await push(repository());
    expect(sizes).toEqual([layer.length, layer.length, layer.length]);
    const puts = registry.requests.filter(({ method }) => method === 'PUT').map(({ path }) => path);
    expect(puts).toEqual(Array(3).fill(`/up?state=a%20b&digest=${encodeURIComponent(digest)}`));
    expect(registry.requests.filter(({ method }) => method === 'POST')).toHaveLength(3);
  });

  test('to another server goes there without the password', async () => {
    const other = await HostileRegistry.start();
    other.fault = uploads('', (response) => response.writeHead(201).end());
    const takes = uploads(`http://${other.host}/elsewhere`, () => {});
    registry.fault = (request, response) => {
      if (request.headers.authorization) return takes(request, response);
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    };
    await push(withPassword(registry.host));
    expect(other.requests).toMatchObject([{ method: 'PUT', authorization: undefined }]);
    await other.stop();
  });

  test('that is refused is refused once; one that nobody tells where to go is an error', async () => {
    registry.fault = uploads('/up', (response) => refuse(response, 400, 'DIGEST_INVALID', 'not what it was'));
    const { message } = await failing(push(repository()));
    expect(message).toMatch(/answers 400 Bad Request to: push team\/thing@sha256:.*: DIGEST_INVALID: not what it was$/);
    expect(registry.requests.filter(({ method }) => method === 'PUT')).toHaveLength(1);
    registry.fault = on(/uploads/, (_, response) => response.writeHead(202).end());
    expect((await failing(push(repository()))).message).toMatch(/does not say where to upload/);
  });

  test('of a manifest that the registry keeps as another is an error', async () => {
    registry.fault = on(/manifests/, (request, response) => {
      request.resume().on('end', () => response.setHeader('docker-content-digest', digest).writeHead(201).end());
    });
    const pushed = repository().pushManifest('2', 'application/vnd.oci.image.manifest.v1+json', Buffer.from('{}'));
    expect((await failing(pushed)).message).toMatch(/stored sha256:.* instead of sha256:/);
  });
});

/** Someone who has logged in there. */
function withPassword(host: string): Repository {
  writeFileSync(`${folder}/config.json`, JSON.stringify({ auths: { [host]: { auth: btoa('joe:sesame') } } }));
  return repository({ env: { HOME: '/nonexistent', DOCKER_CONFIG: folder } });
}
