/** A log as it grows. Host side. */
import { watch } from 'node:fs';
import type { LogPiece, LogReader } from './logs.ts';

/**
 * Gives `write` each piece as it comes, up to the last one before `ended` resolves. inotify(7) tells that there is more; once a
 * second it is looked at anyway, because a file system may not tell. The reader is closed. `caughtUp`: all that was there has been told.
 */
export async function follow(
  reader: LogReader,
  ended: Promise<unknown>,
  write: (piece: LogPiece) => void,
  { caughtUp = () => {} }: { caughtUp?: () => void } = {},
): Promise<void> {
  let isOver = false;
  let wake = () => {};
  const watcher = watch(reader.folder, () => wake());
  const timer = setInterval(() => wake(), 1000);
  const over = ended.finally(() => {
    isOver = true;
    wake();
  });
  over.catch(() => undefined); // it is thrown below, if nothing else is before
  try {
    for (let last = false; !last; ) {
      last = isOver; // before it is read: what comes after the end is none of it
      const more = new Promise<void>((resolve) => {
        wake = resolve;
      });
      for (const piece of reader.read()) write(piece);
      caughtUp();
      if (!last && !isOver) await more;
    }
  } finally {
    watcher.close();
    clearInterval(timer);
    reader.close();
  }
  await over;
}
