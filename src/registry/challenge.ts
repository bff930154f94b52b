/** The WWW-Authenticate header of a 401. Pure. Source: RFC 9110, 11.6.1; distribution's token authentication. */

export interface Challenge {
  /** Lower case: basic, bearer. */
  scheme: string;
  /** Names in lower case: realm, service, scope, error. */
  parameters: Record<string, string>;
}

const token = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
const parameter = new RegExp(`^\\s*(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]+))\\s*(?:,|$)`);
const scheme = new RegExp(`^[\\s,]*(${token})(?=\\s|,|$)\\s*,?`);

/** All challenges that can be read; what comes after a mistake is left out. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const challenges: Challenge[] = [];
  for (let rest = [header ?? ''].flat().join(', '); rest.trim() !== ''; ) {
    const pair = parameter.exec(rest);
    const name = pair ? undefined : scheme.exec(rest);
    const current = challenges.at(-1);
    if (pair && current) current.parameters[pair[1]!.toLowerCase()] = pair[2]?.replace(/\\(.)/g, '$1') ?? pair[3] ?? '';
    else if (name) challenges.push({ scheme: name[1]!.toLowerCase(), parameters: {} });
    else break;
    rest = rest.slice((pair ?? name)![0].length);
  }
  return challenges;
}
