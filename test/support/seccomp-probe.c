/*
 * What a seccomp filter does, asked of the kernel. Static, so that it also runs as the only file of a container.
 *
 *   seccomp-probe call FILE|- FLAGS NR[,ARG...] ...   loads the BPF program in FILE (- for none), makes each call, prints
 *                                                     "NR[,ARG...] ERRNO" for it (0: it succeeded)
 *   seccomp-probe dump PID                            the newest filter of a process, as struct sock_filter[], to stdout
 *   seccomp-probe pause                               waits for a signal
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

static struct sock_filter filter[4096];

static void die(const char *what) {
	perror(what);
	exit(99);
}

static void load(const char *file, unsigned long flags) {
	int fd = open(file, O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, filter, sizeof filter);
	if (size < 0)
		die(file);
	struct sock_fprog program = {size / sizeof *filter, filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("no_new_privs");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
		die("seccomp");
}

static void call(const char *words) {
	unsigned long v[7] = {0};
	char *next = (char *)words;
	for (int i = 0; i < 7; i++) {
		v[i] = strtoul(next, &next, 0);
		if (*next++ == 0)
			break;
	}
	errno = 0;
	long result = syscall(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
	printf("%s %d\n", words, result == -1 ? errno : 0);
	fflush(stdout);
}

static void dump(pid_t pid) {
	if (ptrace(PTRACE_ATTACH, pid, 0, 0) < 0 || waitpid(pid, NULL, 0) < 0)
		die("attach");
	long count = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, filter);
	if (count < 0)
		die("PTRACE_SECCOMP_GET_FILTER");
	fwrite(filter, sizeof *filter, count, stdout);
}

int main(int argc, char **argv) {
	if (argc == 3 && !strcmp(argv[1], "dump"))
		dump(atoi(argv[2]));
	else if (argc == 2 && !strcmp(argv[1], "pause"))
		pause();
	else if (argc >= 4 && !strcmp(argv[1], "call")) {
		if (strcmp(argv[2], "-"))
			load(argv[2], strtoul(argv[3], NULL, 0));
		for (int i = 4; i < argc; i++)
			call(argv[i]);
	} else
		return 98;
	return 0;
}
