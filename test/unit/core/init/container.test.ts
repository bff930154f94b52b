import { expect, test } from 'vitest';
import { record } from './support.ts';

test('the default container, call by call', async () => {
  const { transcript, error } = record();
  expect(error).toBeUndefined();
  await expect(transcript()).toMatchFileSnapshot('./default-container.txt');
});
