import { describe, expect, test } from 'vitest';
import { applyChanges } from '../../../src/image/change.ts';
import { stackedOnce } from '../../../src/image/commit.ts';
import { readImageConfig, readImageDocument } from '../../../src/image/config.ts';
import { limits } from '../../../src/image/limits.ts';

const diffId = `sha256:${'ab'.repeat(32)}`;
const document = (more: object) =>
  Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [diffId] }, ...more }),
  );

describe('an image configuration is untrusted', () => {
  test('only eight fields are read; labels, hooks and hosts change nothing (SEC-16)', () => {
    const hostile = {
      Env: ['A=1'],
      Cmd: ['sh'],
      Entrypoint: ['/entry'],
      WorkingDir: '/w',
      User: 'nobody',
      ExposedPorts: { '80/tcp': {} },
      StopSignal: 'SIGQUIT',
      Labels: { 'io.containerd.image.name': 'evil', 'org.criu.checkpoint.path': '/etc' },
      Volumes: { '/etc': {}, '../../..': {} },
      Hostname: 'host',
      HostConfig: { Privileged: true, Binds: ['/:/host'] },
      Healthcheck: { Test: ['CMD', 'rm'] },
      OnBuild: ['RUN evil'],
      Shell: ['/evil'],
      __proto__: { Privileged: true },
    };
    const { config } = readImageDocument(document({ config: hostile, annotations: { x: 'y' } }), 'it');
    expect(Object.keys(config).sort()).toEqual(
      ['Cmd', 'Entrypoint', 'Env', 'ExposedPorts', 'StopSignal', 'User', 'Volumes', 'WorkingDir'].sort(),
    );
    expect(config.Volumes).toEqual({ '/etc': {}, '../../..': {} }); // places in the container: run checks them
  });

  test('null and empty fields are left out, as docker writes them', () => {
    expect(readImageConfig({ Cmd: null, Entrypoint: null, WorkingDir: '', User: '', Env: [] }, 'it')).toEqual({
      Env: [],
    });
  });

  test.each([
    [{ config: { Env: 'A=1' } }, 'config.Env is "A=1"'],
    [{ config: { Cmd: [1] } }, 'config.Cmd is 1'],
    [{ config: { Cmd: ['a\0b'] } }, 'without NUL'],
    [{ config: { User: 0 } }, 'config.User is 0'],
    [{ config: { ExposedPorts: ['80'] } }, 'config.ExposedPorts'],
    [{ config: { ExposedPorts: { '80; rm': {} } } }, 'ports like 80/tcp'],
    [{ config: [] }, 'config is []'],
    [{ os: '../linux' }, 'os is "../linux"'],
    [{ architecture: undefined }, 'architecture is nothing'],
    [{ created: 'yesterday' }, 'created'],
    [{ rootfs: {} }, 'rootfs.diff_ids'],
    [{ rootfs: { diff_ids: ['sha256:../../x'] } }, 'sha256 digests'],
    [{ config: { Volumes: ['/a'] } }, 'config.Volumes is ["/a"]'],
    [{ config: { Volumes: { '/a\0': {} } } }, 'a string without NUL'],
    [{ config: { Volumes: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`/${i}`, {}])) } }, 'at most 100'],
    [{ rootfs: { diff_ids: Array(limits.layers + 1).fill(diffId) } }, 'at most 125'],
  ])('%j is refused', (more, message) => {
    expect(() => readImageDocument(document(more), 'it')).toThrow(message);
  });

  test('a document beyond the limit is not parsed', () => {
    expect(() => readImageDocument(Buffer.alloc(limits.documentBytes + 1, '['), 'it')).toThrow('at most 4194304');
    expect(() => readImageDocument(Buffer.alloc(limits.documentBytes, '['), 'it')).toThrow('is not JSON');
  });
});

describe('--change', () => {
  test('sets what a Dockerfile would', () => {
    const changes = [
      'CMD ["/bin/sh", "-l"]',
      'entrypoint /bin/tini -- x',
      'ENV A=1 B="two words" C=\'single\' D=a\\ b',
      'ENV A=3',
      'ENV OLD some text',
      'WORKDIR /srv',
      'USER 1000:1000',
      'STOPSIGNAL SIGQUIT',
      'EXPOSE 80 53/udp',
    ];
    expect(applyChanges({}, changes)).toEqual({
      Cmd: ['/bin/sh', '-l'],
      Entrypoint: ['/bin/sh', '-c', '/bin/tini -- x'],
      Env: ['B=two words', 'C=single', 'D=a b', 'A=3', 'OLD=some text'],
      WorkingDir: '/srv',
      User: '1000:1000',
      StopSignal: 'SIGQUIT',
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
    });
  });

  test.each([
    ['LABEL a=b', 'only CMD'],
    ['RUN x', 'only CMD'],
    ['', 'only CMD'],
    ['CMD', 'needs a value'],
    ['CMD ["a"', 'JSON list'],
    ['CMD [1]', 'strings only'],
    ['ENV A', 'NAME=value'],
    ['ENV A="open', 'NAME=value'],
    ['WORKDIR srv', 'begin with /'],
    ['EXPOSE http', 'a port is written'],
    ['constructor x', 'only CMD'],
  ])('%j is refused', (line, message) => {
    expect(() => applyChanges({}, [line])).toThrow(message);
  });
});

test('a layer that an image has twice is mounted once, where it stands highest', () => {
  expect(stackedOnce(['a', 'b', 'a', 'c', 'c'])).toEqual(['b', 'a', 'c']);
});
