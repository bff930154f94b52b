/** A program under Node's inspector, as a debugger drives it: the Chrome DevTools Protocol over a WebSocket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { WebSocket } from 'undici';

type Fields = Record<string, unknown>;

export interface CallFrame {
  callFrameId: string;
  functionName: string;
  url: string;
  location: { scriptId: string; lineNumber: number; columnNumber: number };
}

const PATIENCE_MS = 30_000;

export class Debuggee {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  stdout = '';
  stderr = '';
  private socket: WebSocket | undefined;
  private lastId = 0;
  private readonly answers = new Map<number, (message: Fields) => void>();
  private readonly events: { method: string; params: Fields }[] = [];
  private wake: () => void = () => {};

  /** Starts `node --inspect-brk` with the words. */
  constructor(words: readonly string[], env: Record<string, string> = {}) {
    const { NODE_OPTIONS: _, ...clean } = process.env;
    this.child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env: { ...clean, ...env } });
    this.child.stdout!.on('data', (data: Buffer) => {
      this.stdout += data;
    });
    this.child.stderr!.on('data', (data: Buffer) => {
      this.stderr += data;
      this.wake();
    });
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
  }

  /** Connects, and lets it go on to its first line. */
  async attach(): Promise<void> {
    const url = await this.wait('the inspector’s address', () => /ws:\/\/\S+/.exec(this.stderr)?.[0]);
    this.socket = new WebSocket(url);
    this.socket.addEventListener('message', ({ data }) => this.receive(JSON.parse(String(data))));
    await new Promise((resolve, reject) => {
      this.socket!.addEventListener('open', resolve);
      this.socket!.addEventListener('error', reject);
    });
    await this.send('Runtime.enable');
    await this.send('Debugger.enable');
    await this.send('Runtime.runIfWaitingForDebugger');
    await this.paused();
  }

  send(method: string, params: Fields = {}): Promise<Fields> {
    const id = ++this.lastId;
    this.socket!.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) =>
      this.answers.set(id, ({ result, error }) =>
        error ? reject(new Error(`${method}: ${JSON.stringify(error)}`)) : resolve(result as Fields),
      ),
    );
  }

  /** The call frames at the next stop, innermost first. */
  async paused(): Promise<CallFrame[]> {
    const find = () => {
      const at = this.events.findIndex(({ method }) => method === 'Debugger.paused');
      return at < 0 ? undefined : this.events.splice(at, 1)[0];
    };
    return (await this.wait('a stop', find)).params.callFrames as CallFrame[];
  }

  /** The value of an expression in a frame. */
  async evaluate(frame: CallFrame, expression: string): Promise<unknown> {
    const { callFrameId } = frame;
    const answer = await this.send('Debugger.evaluateOnCallFrame', { callFrameId, expression, returnByValue: true });
    return (answer.result as Fields).value;
  }

  /** The program goes on, without a debugger. */
  async detach(): Promise<void> {
    await this.send('Debugger.disable');
    this.socket!.close();
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  private receive(message: Fields): void {
    if (typeof message.id === 'number') this.answers.get(message.id)?.(message);
    else this.events.push(message as { method: string; params: Fields });
    this.wake();
  }

  private async wait<T>(what: string, find: () => T | undefined): Promise<T> {
    for (const end = Date.now() + PATIENCE_MS; ; ) {
      const found = find();
      if (found !== undefined) return found;
      if (Date.now() > end || this.child.exitCode !== null) throw new Error(`no ${what}: ${this.stderr}`);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, 100);
      });
    }
  }
}
