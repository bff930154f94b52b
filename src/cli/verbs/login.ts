/** tinyctr login [SERVER]: a name and a password for a registry, asked for at the terminal, tried, and kept. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';

interface LoginFlags {
  username?: string;
  password?: string;
  passwordStdin?: boolean;
  insecure?: boolean;
}

export function define(program: Command): void {
  program
    .command('login')
    .description(
      "Keep a name and a password for a registry, as docker login does: in its config.json, or by a helper. Docker Hub's when no server is named.",
    )
    .argument('[server]', 'ghcr.io, registry:5000 …')
    .option('-u, --username <name>')
    .option('-p, --password <password>', 'seen by everybody on this machine; better not')
    .option('--password-stdin', 'read it from standard input')
    .option('--insecure', 'take plain http, and certificates that nobody vouches for')
    .action(async (server: string | undefined, flags: LoginFlags) => {
      const { login, registryNamed, knownUser } = await import('../../registry/login.ts');
      const registry = registryNamed(server);
      const { user, password } = await ask(registry, flags, () => knownUser(registry));
      const { file, helper } = await login(registry, user, password, { insecure: flags.insecure === true });
      if (helper === undefined)
        process.stderr.write(
          `WARNING! The password is stored unencrypted in ${file}.\nA credential helper ("credsStore" there) keeps it encrypted.\n`,
        );
      if (process.getuid?.() !== 0)
        process.stderr.write(
          `"sudo tinyctr pull" reads root's credentials instead: "sudo tinyctr login" is for that.\n`,
        );
      process.stdout.write('Login Succeeded\n');
    });
}

async function ask(
  registry: string,
  { username, password, passwordStdin }: LoginFlags,
  known: () => string | undefined,
): Promise<{ user: string; password: string }> {
  if (password !== undefined && passwordStdin)
    throw new ContainerError('--password and --password-stdin exclude each other');
  if (passwordStdin && !username) throw new ContainerError('--password-stdin needs --username');
  if (password !== undefined)
    process.stderr.write('WARNING! --password is seen by everybody on this machine. Use --password-stdin.\n');
  const given = passwordStdin ? await readPassword() : password;
  if (username && given !== undefined) return { user: username, password: nonEmpty(given, 'password') };
  const { Prompt } = await import('../prompt.ts');
  const prompt = new Prompt();
  try {
    const user = username || (await askUser(prompt, registry, known()));
    return { user, password: nonEmpty(given ?? (await prompt.ask('Password: ', true)), 'password') };
  } finally {
    prompt.close();
  }
}

async function askUser(
  prompt: { ask(question: string, hidden: boolean): Promise<string> },
  registry: string,
  known: string | undefined,
): Promise<string> {
  const question = `Username for ${registry}${known === undefined ? '' : ` (${known})`}: `;
  return nonEmpty((await prompt.ask(question, false)).trim() || known, 'name');
}

function nonEmpty(text: string | undefined, what: string): string {
  if (!text) throw new ContainerError(`no ${what} was given`);
  return text;
}

async function readPassword(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
