/** tinyctr logout [SERVER]: forgets what login keeps. */
import type { Command } from 'commander';

export function define(program: Command): void {
  program
    .command('logout')
    .description("Forget a registry's name and password. Docker Hub's when no server is named.")
    .argument('[server]', 'ghcr.io, registry:5000 …')
    .action(async (server: string | undefined) => {
      const { logout, registryNamed } = await import('../../registry/login.ts');
      const registry = registryNamed(server);
      const { removed, elsewhere } = await logout(registry);
      process.stdout.write(removed ? `Removing login credentials for ${registry}\n` : `Not logged in to ${registry}\n`);
      for (const file of elsewhere)
        process.stderr.write(`${file} still has some, of podman's: podman logout ${registry}\n`);
    });
}
