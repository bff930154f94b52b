import { isIP as nodeIsIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hostnameFile, hostsFile, parseAddHost, resolvConf } from '../../../src/engine/etc-files.ts';
import { isIP, isLoopback } from '../../../src/engine/ip.ts';
import { problemOf } from './support.ts';

describe('isIP', () => {
  it('agrees with Node, zones apart', () => {
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.stringMatching(/^[0-9a-f:.]{0,20}$/),
      fc
        .tuple(fc.ipV6(), fc.nat({ max: 40 }), fc.constantFrom(':', '.', '1', ''))
        .map(([address, at, change]) => address.slice(0, at) + change + address.slice(at + 1)),
    );
    fc.assert(
      fc.property(text, (value) => {
        expect(isIP(value)).toBe(nodeIsIP(value) !== 0);
      }),
      { numRuns: 5000 },
    );
  });

  it.each(['', '1.2.3', '1.2.3.4.', '01.2.3.4', '256.1.1.1', ':::', '1::2::3', '::1%eth0', ':', '1:', '::1.2.3'])(
    "'%s' is none",
    (text) => {
      expect(isIP(text)).toBe(false);
    },
  );

  it('knows loopback addresses', () => {
    expect(['127.0.0.53', '127.0.0.1', '::1', '8.8.8.8', '::2'].map(isLoopback)).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('--add-host', () => {
  it.each([
    ['db:10.0.0.1', 'db', '10.0.0.1'],
    ['db=10.0.0.1', 'db', '10.0.0.1'],
    ['db:::1', 'db', '::1'],
    ['db:[2001:db8::1]', 'db', '2001:db8::1'],
    ['db=[::1]', 'db', '::1'],
    ['a.example.org:1.2.3.4', 'a.example.org', '1.2.3.4'],
  ])('reads %s', (text, name, address) => {
    expect(parseAddHost(text)).toEqual({ name, address });
  });

  it.each([
    ['db', 'not an IP address'],
    ['db:', 'not an IP address'],
    ['db:1.2.3', 'not an IP address'],
    ['db:[::1', 'not an IP address'],
    ['db:host-gateway', 'host-gateway is not there yet'],
    [':1.2.3.4', 'not a host name'],
    ['a b:1.2.3.4', 'not a host name'],
    ['a\n6.6.6.6 bank:1.2.3.4', 'not a host name'],
    ['#x:1.2.3.4', 'not a host name'],
  ])('refuses %j', (text, reason) => {
    expect(problemOf(() => parseAddHost(text))).toContain(reason);
  });
});

describe('hostsFile', () => {
  it('knows localhost and what was added', () => {
    expect(hostsFile(['db:10.0.0.1'], undefined)).toBe(
      '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n' +
        'ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.0.0.1\tdb\n',
    );
  });

  it("adds to the host's own file in the host's network", () => {
    expect(hostsFile(['db:10.0.0.1'], '127.0.0.1 localhost host1\n\n')).toBe(
      '127.0.0.1 localhost host1\n10.0.0.1\tdb\n',
    );
  });
});

describe('hostnameFile', () => {
  it('is the name on a line', () => {
    expect(hostnameFile('web')).toBe('web\n');
  });
});

describe('resolvConf', () => {
  const hostFile = '# made by something\nnameserver 127.0.0.53\n\nnameserver ::1\nnameserver 10.0.0.2\nsearch a.b\n';

  it("is the host's without its loopback servers", () => {
    expect(resolvConf({ hostFile, dns: [], hostNetwork: false })).toBe(
      '# made by something\nnameserver 10.0.0.2\nsearch a.b\n',
    );
  });

  it("is the host's as it is in the host's network", () => {
    expect(resolvConf({ hostFile, dns: [], hostNetwork: true })).toBe(hostFile);
  });

  it.each([true, false])('has the servers of --dns instead (host network: %s)', (hostNetwork) => {
    expect(resolvConf({ hostFile, dns: ['1.1.1.1', '2606:4700::1111'], hostNetwork })).toBe(
      'nameserver 1.1.1.1\nnameserver 2606:4700::1111\n# made by something\nsearch a.b\n',
    );
  });

  it('is empty when the host has none', () => {
    expect(resolvConf({ hostFile: '', dns: [], hostNetwork: false })).toBe('');
  });

  it('refuses what is not an address', () => {
    expect(problemOf(() => resolvConf({ hostFile, dns: ['1.1.1'], hostNetwork: false }))).toContain("--dns '1.1.1'");
  });
});
