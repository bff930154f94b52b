/*
 * The init that --init puts in front of the container's command: process 1 that forwards signals to it, reaps what
 * is orphaned, and ends as the command ends. argv: its own name, the file to execute, and the command's argv.
 * Executed from a sealed memfd; freestanding like the stage.
 */
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include "sys.h"

#define SIG_SETMASK 2
#define SIGCHLD 17
#define WNOHANG 1
#define ECHILD 10
#define EACCES 13
#define ENOENT 2
#define TIOCSPGRP 0x5410

static const uint64_t all_signals = ~0UL, no_signals;

__attribute__((noreturn)) static void leave(int status)
{
	sys3(__NR_exit_group, status, 0, 0);
	__builtin_trap(); /* a seccomp filter refused even that: end by SIGILL */
}

static void say(const char *text, size_t length)
{
	sys3(__NR_write, 2, text, length);
}

/* The host learns no more than an exit status: what went wrong is told here. */
static void complain(const char *path, long error)
{
	static const char text[] = "tinyctr: exec (with --init) fails with errno ";
	char digits[] = { '0' + error / 100, '0' + error / 10 % 10, '0' + error % 10 };
	size_t zeros = error < 10 ? 2 : error < 100, length = 0;
	while (path[length])
		length++;
	say(text, sizeof text - 1);
	say(digits + zeros, sizeof digits - zeros);
	say(": ", 2);
	say(path, length);
	say("\n", 1);
}

__attribute__((noreturn)) static void become_command(char **argv, char **envp)
{
	/* A group of its own, in the foreground if there is a terminal: Ctrl-C is for the command, not for init. */
	int group = sys3(__NR_getpid, 0, 0, 0);
	sys3(__NR_setpgid, 0, 0, 0);
	sys3(__NR_ioctl, 0, TIOCSPGRP, &group);
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, sizeof no_signals);
	long error = sys3(__NR_execve, argv[1], argv + 2, envp);
	complain(argv[1], -error);
	leave(error == -ENOENT ? 127 : 126);
}

/* Reaps all that have ended. Leaves with the command's status once that is among them. */
static void reap(long command)
{
	int status;
	for (;;) {
		long pid = sys4(__NR_wait4, -1, &status, WNOHANG, 0);
		if (pid <= 0)
			return;
		if (pid == command)
			leave((status & 0x7f) ? 128 + (status & 0x7f) : (status >> 8) & 0xff);
	}
}

__attribute__((noreturn, used)) void init_main(uintptr_t *stack)
{
	int argc = stack[0];
	char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
	if (argc < 3)
		leave(125);
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &all_signals, 0, sizeof all_signals);
	long command = sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (command == 0)
		become_command(argv, envp);
	if (command < 0)
		leave(125);
	for (;;) {
		long sig = sys4(__NR_rt_sigtimedwait, &all_signals, 0, 0, sizeof all_signals);
		if (sig == SIGCHLD)
			reap(command);
		else if (sig > 0)
			sys3(__NR_kill, command, sig, 0);
	}
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall init_main\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb init_main\n");
#endif
