import { expect, it } from 'vitest';
import { planCgroup } from '../../../src/core/plan/cgroup.ts';
import { deviceProgramInWords } from '../../../src/workshop/device-words.ts';

it('deviceProgramInWords has a line for each rule that counts, also for the container’s own devices', () => {
  const devices = [
    { allow: true, type: 'c', major: 4, minor: 4 },
    { allow: false },
    { allow: false, type: 'b', major: 8, minor: -1, access: 'w' },
    { allow: true, type: 'a', major: 10, minor: 229, access: 'rw' },
    { allow: true, type: 'b', major: 1, minor: 3, access: 'mr' },
  ].map((rule) => ({ access: 'rwm', ...rule }));
  expect(deviceProgramInWords(planCgroup('/test', { devices }).devices!.program)).toEqual([
    'deny read, write, mknod: any device',
    'deny write: block device 8:*',
    'allow read, write: device 10:229',
    'allow read, mknod: block device 1:3',
    'allow mknod: any character device',
    'allow mknod: any block device',
    'allow read, write, mknod: character device 1:3 (/dev/null)',
    'allow read, write, mknod: character device 1:5 (/dev/zero)',
    'allow read, write, mknod: character device 1:7 (/dev/full)',
    'allow read, write, mknod: character device 1:8 (/dev/random)',
    'allow read, write, mknod: character device 1:9 (/dev/urandom)',
    'allow read, write, mknod: character device 5:0 (/dev/tty)',
    'allow read, write, mknod: character device 5:1 (/dev/console)',
    'allow read, write, mknod: character device 5:2 (/dev/ptmx)',
    'allow read, write, mknod: character device 136:* (/dev/pts/*)',
  ]);
});
