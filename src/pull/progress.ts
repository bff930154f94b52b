/**
 * What a pull or a push tells while it works: lines for a file or a pipe, one bar per layer on a terminal. Host side, output only.
 */
import { drawLayers, finalStates, type LayerState, type LayerView, sayLayer } from './bars.ts';

export class LayerProgress implements LayerView {
  readonly id: string;
  size: number;
  state: LayerState = 'waiting';
  bytes = 0;
  detail: string | undefined;
  readonly #changed: (layer: LayerProgress) => void;

  constructor(digest: string, size: number, changed: (layer: LayerProgress) => void) {
    this.id = digest.slice('sha256:'.length, 'sha256:'.length + 12);
    this.size = size;
    this.#changed = changed;
  }

  /** Tells of the new state; `bytes` are through. */
  set(state: LayerState, bytes = this.bytes, detail?: string): void {
    if (state === this.state && bytes === this.bytes) return;
    this.state = state;
    this.bytes = bytes;
    this.detail = detail;
    this.#changed(this);
  }

  /** What is sent may have another size than what was found. */
  resize(size: number): void {
    this.size = size;
  }

  passed(bytes: number): void {
    this.set(this.state, bytes);
  }
}

export interface TransferProgress {
  /** Before the first layer. */
  begin(title: string): void;
  layer(digest: string, size: number): LayerProgress;
  /** Something to be read that has nothing to do with the layers. */
  note(text: string): void;
  /** Call it once, also after a failure. */
  end(): void;
}

/** Nothing but notes. */
export class SilentProgress implements TransferProgress {
  begin(_title: string): void {}

  layer(digest: string, size: number): LayerProgress {
    return new LayerProgress(digest, size, () => {});
  }

  note(text: string): void {
    process.stderr.write(`tinyctr: ${text}\n`);
  }

  end(): void {}
}

/** A line for each layer when it is there. */
export class LineProgress extends SilentProgress {
  override begin(title: string): void {
    process.stdout.write(`${title}\n`);
  }

  override layer(digest: string, size: number): LayerProgress {
    return new LayerProgress(digest, size, (layer) => {
      if (finalStates.includes(layer.state)) process.stdout.write(`${sayLayer(layer)}\n`);
    });
  }
}

const REDRAW_MS = 100;

/** A line with a bar for each layer, drawn over and over. */
export class BarProgress implements TransferProgress {
  readonly #terminal: NodeJS.WriteStream;
  readonly #layers: LayerProgress[] = [];
  #drawn = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(terminal: NodeJS.WriteStream) {
    this.#terminal = terminal;
  }

  begin(title: string): void {
    this.#terminal.write(`${title}\n`);
  }

  layer(digest: string, size: number): LayerProgress {
    const layer = new LayerProgress(digest, size, () => this.#soon());
    this.#layers.push(layer);
    this.#soon();
    return layer;
  }

  note(text: string): void {
    this.#terminal.write(`${this.#up()}tinyctr: ${text}\n`);
    this.#draw();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#layers.length > 0) this.#draw();
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#draw();
    }, REDRAW_MS);
  }

  /** Back over what is drawn, taking it away. */
  #up(): string {
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A\x1b[J` : '';
    this.#drawn = 0;
    return up;
  }

  #draw(): void {
    const { columns, rows } = this.#terminal; // 0 where nobody has said it
    const up = this.#up();
    const lines = drawLayers(this.#layers, columns || 80, rows || 24);
    this.#drawn = lines.length;
    this.#terminal.write(up + lines.map((line) => `${line}\n`).join(''));
  }
}
