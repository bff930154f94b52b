/** The lines that show layers on a terminal: as many as fit, none longer than it is wide. Pure. */
import { humanSize } from '../image/present.ts';

/** Of a pull, and of a push. */
export type LayerState =
  | ('waiting' | 'downloading' | 'verifying' | 'unpacking' | 'complete' | 'exists')
  | ('preparing' | 'compressing' | 'pushing' | 'pushed' | 'mounted' | 'present');

/** One layer as it is shown. */
export interface LayerView {
  /** The first 12 hex digits of its blob's digest. */
  readonly id: string;
  readonly state: LayerState;
  /** Of the archive as it comes. */
  readonly bytes: number;
  readonly size: number;
  /** What else is to be said of the state: where it was mounted from. */
  readonly detail?: string | undefined;
}

const MOST_BAR = 40;
const LEAST_BAR = 10;

/** What the user wants to see when there is no room for all: what moves, then what will, then what is done. */
const moving: LayerState[] = ['downloading', 'verifying', 'unpacking', 'pushing', 'compressing'];
/** No more is to come. */
export const finalStates: readonly LayerState[] = ['complete', 'exists', 'pushed', 'mounted', 'present'];
const importance: LayerState[] = [...moving, 'waiting', 'preparing', ...finalStates];

const stateWords: Record<LayerState, string> = {
  waiting: 'Waiting',
  downloading: 'Downloading',
  verifying: 'Verifying',
  unpacking: 'Unpacking',
  complete: 'Pull complete',
  exists: 'Already exists',
  preparing: 'Preparing',
  compressing: 'Compressing',
  pushing: 'Pushing',
  pushed: 'Pushed',
  mounted: 'Mounted from',
  present: 'Layer already exists',
};

/** In the image's order. With more layers than lines the last line counts those that are not shown. */
export function drawLayers(layers: readonly LayerView[], columns: number, rows: number): string[] {
  const room = Math.max(1, rows - 2); // the line above, and the one where the cursor stands
  if (layers.length <= room) return layers.map((layer) => drawLayer(layer, columns));
  const byImportance = layers.toSorted((a, b) => importance.indexOf(a.state) - importance.indexOf(b.state));
  const shown = new Set(byImportance.slice(0, room - 1));
  const hidden = layers.filter((layer) => !shown.has(layer));
  const lines = layers.filter((layer) => shown.has(layer)).map((layer) => drawLayer(layer, columns));
  return [...lines, cut(`${hidden.length} more: ${count(hidden)}`, columns)];
}

function count(layers: readonly LayerView[]): string {
  const states = importance.filter((state) => layers.some((layer) => layer.state === state));
  const number = (state: LayerState) => layers.filter((layer) => layer.state === state).length;
  return states.map((state) => `${number(state)} ${stateWords[state].toLowerCase()}`).join(', ');
}

/** `f56be85fc22e: Mounted from library/alpine`. */
export function sayLayer({ id, state, detail }: LayerView): string {
  return `${id}: ${stateWords[state]}${detail === undefined ? '' : ` ${detail}`}`;
}

/** `f56be85fc22e: Downloading [======>     ] 12.3MB/45.6MB`. A bar that has no room is left out. */
function drawLayer(layer: LayerView, columns: number): string {
  const { state, bytes, size } = layer;
  const start = sayLayer(layer);
  if (!moving.includes(state)) return cut(start, columns);
  const numbers = `${humanSize(bytes)}/${humanSize(size)}`;
  const width = Math.min(MOST_BAR, columns - 1 - start.length - numbers.length - ' [] '.length);
  if (width < LEAST_BAR) return cut(`${start} ${numbers}`, columns);
  const full = Math.floor(width * Math.min(1, size === 0 ? 1 : bytes / size));
  const bar = full < width ? `${'='.repeat(full)}>`.padEnd(width).slice(0, width) : '='.repeat(width);
  return `${start} [${bar}] ${numbers}`;
}

/** One column stays free: a full line would make some terminals begin the next one. */
function cut(line: string, columns: number): string {
  return line.slice(0, Math.max(1, columns - 1));
}
