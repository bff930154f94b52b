/**
 * `history`: how an image came about, as its configuration tells it. That text is shown and nothing else (SEC-16). Host
 * side. Source: OCI image-spec, config.md, "history".
 */
import { asObject, parseJson } from './config.ts';
import { type Image, type LayerRecord, readConfiguration } from './records.ts';

/** One step of the history; a step that changed no files has size 0. */
export interface HistoryStep {
  /** RFC 3339, undefined where the image does not say it. */
  created: string | undefined;
  createdBy: string;
  comment: string;
  /** Bytes of the layer's files. */
  size: number;
}

/** The youngest step first. Layers of which the history knows nothing are steps without a text, the lowest of all. */
export function imageHistory(root: string, image: Image): HistoryStep[] {
  const where = `the configuration of ${image.id.slice(0, 12)}`;
  const { history } = asObject(parseJson(readConfiguration(root, image.id), where), where, 'history');
  const layers = [...image.content];
  const steps: HistoryStep[] = [];
  for (const item of (Array.isArray(history) ? history : []).reverse()) {
    const told = asObject(item, where, 'a step of the history');
    steps.push(makeStep(told, told.empty_layer === true ? undefined : layers.pop()));
  }
  return [...steps, ...layers.reverse().map((layer) => makeStep({}, layer))];
}

function makeStep(told: Record<string, unknown>, layer: LayerRecord | undefined): HistoryStep {
  const { created } = told;
  const isTime = typeof created === 'string' && Date.parse(created) > 0;
  return {
    created: isTime ? created : undefined,
    createdBy: plainText(told.created_by),
    comment: plainText(told.comment),
    size: layer?.size ?? 0,
  };
}

/** On one line, and without what a terminal would obey. */
function plainText(value: unknown): string {
  return typeof value === 'string' ? value.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ') : '';
}
