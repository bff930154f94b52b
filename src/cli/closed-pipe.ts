/** Who reads what a program prints may leave: `tinyctr ps | head -1`. Other programs end by SIGPIPE then, which Node ignores. */
import { writeSync } from 'node:fs';

/** As a shell has it for a program that SIGPIPE (13) ended. */
export const PIPE_CLOSED = 128 + 13;
const STDERR = 2;

/** Standard output or error is closed at its other end; of sockets and other pipes their owners hear. */
export const isClosedPipe = (error: unknown): boolean => {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return code === 'EPIPE' && syscall === 'write';
};

/** What is written later, by the event loop, ends this process without a word then; other errors stay as loud as they were. */
export function endOnClosedPipe(): void {
  process.on('uncaughtException', (error) => {
    if (isClosedPipe(error)) process.exit(PIPE_CLOSED);
    writeSync(STDERR, `${error.stack ?? error}\n`);
    process.exit(1);
  });
}
