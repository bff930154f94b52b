/** --trace without a file: the table, on the way. Loaded only then. */
import { Table } from './trace-format.ts';
import { TraceReader } from './trace-read.ts';

export class LiveTable {
  private readonly reader = new TraceReader();
  private readonly table = new Table();

  rows(records: string): string {
    return this.table.rows(this.reader.read(records));
  }

  end(): string {
    return this.table.end();
  }
}
