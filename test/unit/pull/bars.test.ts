import { describe, expect, test } from 'vitest';
import { drawLayers, type LayerState, type LayerView } from '../../../src/pull/bars.ts';

const layer = (id: string, state: LayerState, bytes = 0, size = 100_000_000): LayerView => ({ id, state, bytes, size });
const many = (n: number, state: LayerState) => Array.from({ length: n }, (_, i) => layer(`${state}-${i}`, state));

describe('layers on a terminal', () => {
  test('a bar, and how much of how much', () => {
    expect(drawLayers([layer('f56be85fc22e', 'downloading', 50_000_000)], 60, 24)).toEqual([
      'f56be85fc22e: Downloading [==========>         ] 50MB/100MB',
    ]);
    expect(drawLayers([layer('a', 'unpacking', 100_000_000)], 200, 24)[0]).toBe(
      `a: Unpacking [${'='.repeat(40)}] 100MB/100MB`,
    );
    expect(drawLayers([layer('a', 'downloading', 0, 0)], 80, 24)[0]).toContain('0B/0B');
    expect(drawLayers([layer('a', 'exists'), layer('b', 'waiting')], 80, 24)).toEqual([
      'a: Already exists',
      'b: Waiting',
    ]);
  });

  test('no line reaches the edge, however narrow the terminal is', () => {
    const layers = [...many(3, 'downloading'), ...many(3, 'waiting'), ...many(30, 'complete')];
    for (let columns = 1; columns < 120; columns++)
      for (const line of drawLayers(layers, columns, 10)) expect(line.length).toBeLessThan(Math.max(columns, 2));
  });

  test('more layers than lines: what moves is shown, the rest is counted', () => {
    const layers = [
      ...many(20, 'complete'),
      ...many(3, 'unpacking'),
      ...many(2, 'downloading'),
      ...many(30, 'waiting'),
    ];
    const lines = drawLayers(layers, 80, 10);
    expect(lines).toHaveLength(8);
    for (const moving of ['unpacking-0', 'unpacking-2', 'downloading-1'])
      expect(lines.some((line) => line.startsWith(moving))).toBe(true);
    expect(lines.at(-1)).toBe('48 more: 28 waiting, 20 pull complete');
    expect(drawLayers(layers, 80, 1)).toHaveLength(1);
  });
});
