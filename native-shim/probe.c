/*
 * What `tinyctr compare` puts in the place of a container's program: tells facts about itself, a line each (a name, a tab, a value), and
 * then waits to be killed. What to try of paths is in the file "tasks" beside it. Statically linked and freestanding: no file
 * of the image is used. Nothing is changed; system calls are tried with arguments that none of them can do anything with.
 */
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include "sys.h"

#define TASKS "/.tinyctr-compare/tasks"
#define SIGCHLD 17
#define AT_FDCWD (-100)
#define O_WRONLY 1
#define O_TRIED 02004400 /* O_CLOEXEC | O_NONBLOCK | O_NOCTTY */

static char line[16384], *end;

static void text(const char *from)
{
	while (*from && end < line + sizeof line - 1)
		*end++ = *from++;
}

/* What a file says: a line break would end the fact. */
static void bytes(const char *from, long length)
{
	for (long i = 0; i < length && end < line + sizeof line - 2; i++)
		*end++ = from[i] == '\n' || from[i] == 0 ? ' ' : from[i];
}

static void number(long value)
{
	char digits[24], *at = digits + sizeof digits;
	unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;
	*--at = 0;
	do
		*--at = '0' + rest % 10;
	while (rest /= 10);
	if (value < 0)
		*--at = '-';
	text(at);
}

static void tell(void)
{
	*end++ = '\n';
	for (char *at = line; at < end;) {
		long written = sys3(__NR_write, 1, at, end - at);
		if (written <= 0)
			break;
		at += written;
	}
	end = line;
}

static void fact(const char *name, long value)
{
	text(name);
	text("\t");
	number(value);
	tell();
}

static void fact_text(const char *name, const char *value)
{
	text(name);
	text("\t");
	text(value);
	tell();
}

/* --- who and where it is: what /proc does not tell, or not from outside --- */

static void own_facts(void)
{
	static char buffer[4096];
	static struct { char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65]; } names;
	static int32_t groups[65536];
	fact("pid", sys3(__NR_getpid, 0, 0, 0));
	fact("parent", sys3(__NR_getppid, 0, 0, 0));
	fact("process group", sys3(__NR_getpgid, 0, 0, 0));
	fact("session", sys3(__NR_getsid, 0, 0, 0));
	fact("uid", sys3(__NR_getuid, 0, 0, 0));
	fact("gid", sys3(__NR_getgid, 0, 0, 0));
	long count = sys3(__NR_getgroups, sizeof groups / 4, groups, 0);
	text("groups\t");
	for (long i = 0; i < count && i < 1000; i++)
		number(groups[i]), text(" ");
	tell();
	long mask = sys3(__NR_umask, 0, 0, 0);
	sys3(__NR_umask, mask, 0, 0);
	fact("umask", mask);
	fact("dumpable", sys5(__NR_prctl, 3, 0, 0, 0, 0));
	fact("keep capabilities", sys5(__NR_prctl, 7, 0, 0, 0, 0));
	fact("secure bits", sys5(__NR_prctl, 27, 0, 0, 0, 0));
	fact("no_new_privs", sys5(__NR_prctl, 39, 0, 0, 0, 0));
	int flag = 0;
	long result = sys5(__NR_prctl, 2, &flag, 0, 0, 0);
	fact("parent death signal", result < 0 ? result : flag);
	flag = 0;
	result = sys5(__NR_prctl, 37, &flag, 0, 0, 0);
	fact("child subreaper", result < 0 ? result : flag);
	fact("timer slack", sys5(__NR_prctl, 30, 0, 0, 0, 0));
	fact("huge pages disabled", sys5(__NR_prctl, 42, 0, 0, 0, 0));
	fact("personality", sys3(__NR_personality, 0xffffffff, 0, 0));
	fact("scheduler", sys3(__NR_sched_getscheduler, 0, 0, 0));
	result = sys3(__NR_sched_getparam, 0, &flag, 0);
	fact("scheduler priority", result < 0 ? result : flag);
	fact("nice", 20 - sys3(__NR_getpriority, 0, 0, 0));
	fact("io priority", sys3(__NR_ioprio_get, 1, 0, 0));
	result = sys3(__NR_uname, &names, 0, 0);
	fact_text("hostname", result < 0 ? "?" : names.nodename);
	fact_text("domainname", result < 0 ? "?" : names.domainname);
	result = sys3(__NR_getcwd, buffer, sizeof buffer, 0);
	fact_text("cwd", result < 0 ? "?" : buffer);
	/* KEYCTL_GET_KEYRING_ID of the session's, without making one; KEYCTL_DESCRIBE */
	long ring = sys3(__NR_keyctl, 0, -3, 0);
	result = ring < 0 ? ring : sys4(__NR_keyctl, 6, ring, buffer, sizeof buffer);
	if (result < 0)
		fact("session keyring", result);
	else
		fact_text("session keyring", buffer);
	/* TIOCGPGRP of the controlling terminal */
	long tty = sys4(__NR_openat, AT_FDCWD, "/dev/tty", O_TRIED, 0);
	fact("controlling terminal", tty);
	sys3(__NR_close, tty, 0, 0);
}

static void descriptors(void)
{
	text("descriptors\t");
	for (int fd = 0; fd < 4096; fd++) {
		long flags = sys3(__NR_fcntl, fd, 3 /* F_GETFL */, 0);
		if (flags < 0)
			continue;
		number(fd), text(":"), number(flags & 3), text(flags & 04000 ? "n " : " ");
	}
	tell();
}

/* --- paths: each task is a letter, a blank and a path --- */

static long entries(long fd)
{
	static char buffer[8192];
	long count = 0, length;
	while ((length = sys3(__NR_getdents64, fd, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < length; at += *(uint16_t *)(buffer + at + 16))
			count++;
	return length < 0 ? length : count - 2; /* . and .. */
}

/* Opened for reading; of a folder the number of entries, of a file whether there is a first byte. */
static void try_read(const char *path)
{
	char byte;
	long fd = sys4(__NR_openat, AT_FDCWD, path, O_TRIED, 0);
	number(fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	long count = sys3(__NR_read, fd, &byte, 1);
	text(" ");
	if (count == -21 /* EISDIR */)
		text("entries "), number(entries(fd));
	else
		text("read "), number(count);
	sys3(__NR_close, fd, 0, 0);
}

/* Opened only. */
static void try_open(const char *path, int flags)
{
	long fd = sys4(__NR_openat, AT_FDCWD, path, O_TRIED | flags, 0);
	number(fd < 0 ? fd : 0);
	sys3(__NR_close, fd, 0, 0);
}

static void content(const char *path)
{
	static char buffer[8192];
	long fd = sys4(__NR_openat, AT_FDCWD, path, O_TRIED, 0);
	long length = fd < 0 ? fd : sys3(__NR_read, fd, buffer, sizeof buffer);
	if (length < 0)
		number(length);
	else
		text("="), bytes(buffer, length);
	sys3(__NR_close, fd, 0, 0);
}

static void task(char letter, const char *path)
{
	char kind[3] = { letter, ' ', 0 };
	text(kind), text(path), text("\t");
	if (letter == 'r')
		try_read(path);
	else if (letter == 'w')
		try_open(path, O_WRONLY);
	else if (letter == 'o')
		try_open(path, 0);
	else
		content(path);
	tell();
}

static void tasks(void)
{
	static char all[262144];
	long length = 0, got, fd = sys4(__NR_openat, AT_FDCWD, TASKS, O_TRIED, 0);
	fact("tasks", fd < 0 ? fd : 0);
	while (length < (long)sizeof all - 1 && (got = sys3(__NR_read, fd, all + length, sizeof all - 1 - length)) > 0)
		length += got;
	sys3(__NR_close, fd, 0, 0);
	for (char *at = all, *stop = all + length; at < stop;) {
		char *rest = at;
		while (rest < stop && *rest != '\n')
			rest++;
		*rest = 0;
		if (rest - at > 2)
			task(at[0], at + 2);
		at = rest + 1;
	}
}

/* --- system calls, each in a child of its own: a filter may kill for it --- */

struct tried {
	const char *name;
	long number, a, b, c;
};

#define NAMED(name) { #name, __NR_##name, -1, -1, -1 },
static const struct tried calls[] = {
#include "probe-calls.h"
	/* Filters look at arguments as well. The first two can't succeed: CLONE_FS contradicts them. */
	{ "clone(CLONE_NEWUSER|CLONE_FS)", __NR_clone, 0x10000200, 0, 0 },
	{ "clone(CLONE_NEWNS|CLONE_FS)", __NR_clone, 0x20200, 0, 0 },
	{ "unshare(CLONE_NEWUSER)", __NR_unshare, 0x10000000, 0, 0 },
	{ "unshare(CLONE_NEWNS)", __NR_unshare, 0x20000, 0, 0 },
	{ "socket(AF_INET, SOCK_RAW)", __NR_socket, 2, 3, 1 },
	{ "socket(AF_NETLINK)", __NR_socket, 16, 3, 0 },
	{ "socket(AF_PACKET)", __NR_socket, 17, 3, 0 },
	{ "socket(AF_ALG)", __NR_socket, 38, 5, 0 },
	{ "socket(AF_VSOCK)", __NR_socket, 40, 1, 0 },
	{ "personality(PER_LINUX32)", __NR_personality, 8, 0, 0 },
	{ "personality(ADDR_NO_RANDOMIZE)", __NR_personality, 0x40000, 0, 0 },
	{ "ioctl(TIOCSTI)", __NR_ioctl, -1, 0x5412, 0 },
	{ "a call that no kernel has (600)", 600, 0, 0, 0 },
	{ "a call that no kernel has (999)", 999, 0, 0, 0 },
#if defined(__x86_64__)
	{ "x32 getpid", 0x40000000 + __NR_getpid, 0, 0, 0 },
#endif
};

/* They end, block, double or change more than the process that makes them; msgget would make a queue of -1. */
static int is_left_out(long nr)
{
	switch (nr) {
	case __NR_exit:
	case __NR_exit_group:
	case __NR_rt_sigreturn:
	case __NR_restart_syscall:
	case __NR_vhangup:
	case __NR_sync:
	case __NR_msgget:
#if defined(__x86_64__)
	case __NR_fork:
	case __NR_vfork:
	case __NR_pause:
	case 335: /* uretprobe */
	case 336: /* uprobe */
#endif
		return 1;
	}
	return 0;
}

#define NOT_RETURNED 0x7fff0000

/* The result, or the signal that ended the child. */
static void try_call(const struct tried *call, volatile long *shared)
{
	int status = 0;
	*shared = NOT_RETURNED;
	long child = sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		*shared = sys6(call->number, call->a, call->b, call->c, -1, -1, -1);
		sys3(__NR_exit_group, 0, 0, 0);
		sys3(__NR_exit, 0, 0, 0);
		__builtin_trap();
	}
	text("call "), text(call->name), text("\t");
	if (child < 0)
		text("no child "), number(child);
	else {
		sys4(__NR_wait4, child, &status, 0x40000000 /* __WALL */, 0);
		long result = *shared;
		if (result == NOT_RETURNED)
			text("killed "), number(status & 0x7f);
		else
			number(result < 0 && result > -4096 ? result : 0);
	}
	tell();
}

static void all_calls(void)
{
	/* PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS */
	long page = sys6(__NR_mmap, 0, 4096, 3, 0x21, -1, 0);
	fact("calls", page < 0 && page > -4096 ? page : 0);
	if (page < 0 && page > -4096)
		return;
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!is_left_out(calls[i].number))
			try_call(calls + i, (volatile long *)page);
}

__attribute__((noreturn, used)) void probe_main(void)
{
	end = line;
	descriptors();
	own_facts();
	tasks();
	all_calls();
	fact("end", 0);
	for (;;)
		sys5(__NR_ppoll, 0, 0, 0, 0, 0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall probe_main\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tb probe_main\n");
#endif
