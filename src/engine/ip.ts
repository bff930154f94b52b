/** IP addresses on the command line and in resolv.conf, as inet_pton(3) takes them. Pure, and no import of node:net. */

function isIPv4(text: string): boolean {
  return /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/.test(text);
}

/** Eight groups of one to four hex digits, one run of which may be `::`; the last two may be an IPv4 address. */
function isIPv6(text: string): boolean {
  const lastColon = text.lastIndexOf(':');
  const tail = text.slice(lastColon + 1);
  const whole = tail.includes('.') && isIPv4(tail) ? `${text.slice(0, lastColon + 1)}0:0` : text;
  const halves = whole.split('::');
  if (lastColon < 0 || halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (whole === '' || !groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  return halves.length === 2 ? groups.length < 8 : groups.length === 8;
}

export function isIP(text: string): boolean {
  return isIPv4(text) || isIPv6(text);
}

/** True for addresses that mean the machine itself: in a network namespace of its own nothing answers there. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
