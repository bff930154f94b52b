/** Facts that prove why a step failed, read from the host while the half-built container still stands. Host side. */
import type { Plan } from '../plan/plan.ts';

export function explainFailure(error: unknown, _plan: Plan, _hostPid: number): unknown {
  return error;
}
