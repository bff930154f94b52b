/** Questions at the terminal, on standard error, so that standard output has only what was asked for. */
import { createInterface, type Interface } from 'node:readline';
import { Writable } from 'node:stream';
import { ContainerError } from '../core/kernel/error.ts';

export class Prompt {
  private readonly lines: Interface;
  private readonly answers: AsyncIterator<string>;
  private hidden = false;
  private interrupted = false;

  /** Throws ContainerError where nobody can be asked. */
  constructor() {
    if (!process.stdin.isTTY)
      throw new ContainerError('standard input is no terminal to ask at', {
        hint: '--username NAME --password-stdin < FILE',
      });
    // readline takes the echo over from the terminal: what it would show of a password goes nowhere.
    const screen = new Writable({
      write: (chunk, _encoding, done) => {
        if (!this.hidden) process.stderr.write(chunk);
        done();
      },
    });
    this.lines = createInterface({ input: process.stdin, output: screen, terminal: true, historySize: 0 });
    this.lines.on('SIGINT', () => {
      this.interrupted = true;
      this.close();
    });
    this.answers = this.lines[Symbol.asyncIterator]();
  }

  async ask(question: string, hidden: boolean): Promise<string> {
    this.hidden = false;
    this.lines.setPrompt(question);
    this.lines.prompt();
    this.hidden = hidden;
    const { done, value } = await this.answers.next();
    if (hidden || done) process.stderr.write('\n');
    if (this.interrupted) throw new ContainerError('interrupted: nothing was changed', { exitCode: 130 });
    if (done) throw new ContainerError('no answer: nothing was changed');
    return value;
  }

  /** The terminal is as it was. */
  close(): void {
    this.lines.close();
  }
}
