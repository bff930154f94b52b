/** Several things at once, but not all. Pure. */

/**
 * Calls `act` for every item, at most `most` at a time. Results are in the order of the items. After a failure no more are
 * begun; when the running ones have ended, the first error is thrown.
 */
export async function inParallel<T, R>(items: readonly T[], most: number, act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const errors: unknown[] = [];
  let next = 0;
  const lane = async () => {
    while (next < items.length && errors.length === 0) {
      const at = next++;
      try {
        results[at] = await act(items[at]!);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, lane));
  if (errors.length > 0) throw errors[0];
  return results;
}
