/** --restart, --stop-timeout, --log-driver and --log-opt: what is asked of the time after the start. Pure. */
import { cut } from './identity.ts';
import type { RunOptions } from './options.ts';
import { parseSize, parseWhole } from './sizes.ts';
import {
  DEFAULT_STOP_TIMEOUT_S,
  type LifeOptions,
  type LogOptions,
  parseStopTimeout,
  type RestartPolicy,
} from './stored-file.ts';
import { Problems, UsageError } from './usage-error.ts';

const policies = ['no', 'on-failure', 'always', 'unless-stopped'] as const;

const unlimited: LogOptions = { driver: 'json-file', maxSize: 0, maxFiles: 1 };

/** @throws UsageError */
export function parseRestart(text: string): RestartPolicy {
  const [word, retries] = cut(text, ':');
  const name = policies.find((policy) => policy === word);
  if (name === undefined)
    throw new UsageError(
      `--restart '${text}' is no policy: give no, on-failure, on-failure:3, always or unless-stopped`,
    );
  if (retries !== undefined && name !== 'on-failure')
    throw new UsageError(`--restart '${text}': only on-failure has a number of retries`);
  return { name, maxRetries: retries === undefined ? 0 : parseWhole('--restart on-failure', retries, 0, 1_000_000) };
}

/** @throws UsageError */
function parseLog({ logDriver = 'json-file', logOpt = [] }: RunOptions): LogOptions {
  if (logDriver !== 'json-file' && logDriver !== 'none')
    throw new UsageError(`--log-driver '${logDriver}' is not there: json-file and none are`);
  const log: LogOptions = { ...unlimited, driver: logDriver };
  for (const text of logOpt) {
    const [name, value = ''] = cut(text, '=');
    if (logDriver === 'none') throw new UsageError(`--log-opt ${text}: the driver none has no options`);
    if (name === 'max-size') log.maxSize = value === '-1' ? 0 : parseSize('--log-opt max-size', value);
    else if (name === 'max-file') log.maxFiles = parseWhole('--log-opt max-file', value, 1, 1000);
    else throw new UsageError(`--log-opt '${name}' is not there: max-size and max-file are`);
  }
  if (log.maxFiles > 1 && log.maxSize === 0)
    throw new UsageError('--log-opt max-file wants a max-size: without one, no file is ever full');
  return log;
}

/** @throws UsageError with everything that is wrong */
export function lifeOptions(options: RunOptions): LifeOptions {
  const problems = new Problems();
  const { restart: policy, stopTimeout, rm } = options;
  const never: RestartPolicy = { name: 'no', maxRetries: 0 };
  const restart = problems.attempt(() => parseRestart(policy ?? 'no'), never);
  if (rm && restart.name !== 'no') problems.add(`--rm and --restart=${policy} exclude each other`);
  if (options.isolation !== undefined)
    problems.add('--isolation is for a command that somebody looks at: it can’t be had with -d or create');
  const stopTimeoutS = problems.attempt(
    () => (stopTimeout === undefined ? DEFAULT_STOP_TIMEOUT_S : parseStopTimeout(stopTimeout)),
    DEFAULT_STOP_TIMEOUT_S,
  );
  const log = problems.attempt(() => parseLog(options), unlimited);
  problems.throwIfAny();
  return { restart, stopTimeoutS, log };
}
