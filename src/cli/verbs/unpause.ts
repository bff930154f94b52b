/** tinyctr unpause CONTAINER…: see pause.ts. */
import type { Command } from 'commander';
import type { Globals } from '../globals.ts';
import { defineVerb } from './pause.ts';

export function define(program: Command, globals: () => Globals): void {
  defineVerb(program, globals, 'unpause', 'Let the processes of containers go on.', false);
}
