/**
 * podman for its images: with a storage of its own, in a mount namespace of its own with nothing but cgroup v2. Containers run without a
 * network and with the limits that a machine without CAP_SYS_RESOURCE can give.
 */
import { type Result, runProgram, type SpawnOptions } from './tinyctr.ts';

const VIEW = 'mount --make-rprivate /; umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"';
const LIMITS = ['--pids-limit', '0', '--ulimit', 'nofile=1024:20000', '--ulimit', 'nproc=32768:32768'];

export class PodmanImages {
  private readonly folder: string;

  /** Everything goes into `folder`, which whoever made it removes. */
  constructor(folder: string) {
    this.folder = folder;
  }

  call(words: readonly string[], options: SpawnOptions = {}): Promise<Result> {
    const places = [
      '--root',
      `${this.folder}/root`,
      '--runroot',
      `${this.folder}/run`,
      '--tmpdir',
      `${this.folder}/tmp`,
    ];
    const manner = ['--events-backend', 'none', '--cgroup-manager', 'cgroupfs', '--runtime', 'runc'];
    const command = ['podman', ...places, '--storage-driver', 'vfs', ...manner, ...words];
    return runProgram('unshare', ['-m', 'sh', '-c', VIEW, 'sh', ...command], options);
  }

  /** `podman run --rm IMAGE COMMAND…`: what it printed. Throws when it fails. */
  async run(image: string, ...command: string[]): Promise<string> {
    return await this.must('run', '--rm', '--network', 'none', ...LIMITS, image, ...command);
  }

  /** Its standard output. Throws with what it said when it fails. */
  async must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.call(words);
    if (code !== 0) throw new Error(`podman ${words.join(' ')}: ${stderr}`);
    return stdout;
  }
}
