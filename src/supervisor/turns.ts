/** One change of a container at a time; those of different containers go on beside each other. */
export class Turns {
  private readonly last = new Map<string, Promise<unknown>>();

  get isIdle(): boolean {
    return this.last.size === 0;
  }

  /** `act` begins when all that was to be done with this container before has been done. */
  async take<T>(id: string, act: () => Promise<T>): Promise<T> {
    const before = this.last.get(id) ?? Promise.resolve();
    const mine = before.then(act, act);
    const settled: Promise<unknown> = mine
      .catch(() => undefined)
      .then(() => {
        if (this.last.get(id) === settled) this.last.delete(id);
      });
    this.last.set(id, settled);
    return await mine;
  }

  /** Nothing is under way with this container. */
  async settled(id: string): Promise<void> {
    while (this.last.has(id)) await this.last.get(id);
  }
}
