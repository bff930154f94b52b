/** docker's group `container`: `container stop` is `stop`. */

/** By the group's word the verb that does it. */
export const containerVerbs: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      ...['attach', 'create', 'exec', 'kill', 'logs', 'pause', 'rename', 'restart', 'rm', 'run', 'start', 'stats'],
      ...['stop', 'top', 'unpause', 'update', 'wait'],
    ].map((name) => [name, name]),
  ),
  ...{ ls: 'ps', list: 'ps', ps: 'ps', remove: 'rm' },
};
