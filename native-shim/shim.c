/*
 * The host's side: a shared library that Node loads through ffi-rs. Raw system calls, the birth of a stage, and
 * frames to and from it. Every function returns the kernel's result, -errno on failure.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "protocol.h"
#include "sys.h"

#define EXPORT __attribute__((visibility("default")))
#define MAX_STAGE_FDS 64

EXPORT long tinyctr_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	return sys6(nr, a, b, c, d, e, f);
}

/* What the child needs to know; it lives in the parent's memory, which the child shares until its exec. */
struct birth {
	const int32_t *fds; /* host descriptors that become 0, 1, 2 ... in the stage */
	int fd_count;
	int stage_fd;
	long failed;
};

static void reset_signals(void)
{
	/* Node ignores SIGPIPE and SIGXFSZ, and an ignored signal survives exec. CLONE_CLEAR_SIGHAND did the handlers. */
	struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } dfl = { 0 };
	unsigned long none = 0;
	for (int sig = 1; sig <= 64; sig++)
		sys4(SYS_rt_sigaction, sig, &dfl, 0, sizeof none);
	sys4(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
}

static long place_descriptors(struct birth *birth)
{
	int32_t moved[MAX_STAGE_FDS];
	long stage = sys3(SYS_fcntl, birth->stage_fd, F_DUPFD_CLOEXEC, MAX_STAGE_FDS);
	if (stage < 0)
		return stage;
	for (int i = 0; i < birth->fd_count; i++)
		if ((moved[i] = sys3(SYS_fcntl, birth->fds[i], F_DUPFD_CLOEXEC, MAX_STAGE_FDS)) < 0)
			return moved[i];
	for (int i = 0; i < birth->fd_count; i++) {
		long result = sys3(SYS_dup3, moved[i], i, 0);
		if (result < 0)
			return result;
	}
	/* Nothing of the caller's reaches the stage: not Node's descriptors, not a stray one it was started with. */
	long result = sys3(SYS_close_range, birth->fd_count, stage - 1, 0);
	if (result == 0)
		result = sys3(SYS_close_range, stage + 1, ~0U, 0);
	return result < 0 ? result : stage;
}

/* The child, on its own small stack, its parent's thread suspended: it must end in an exec or an exit. */
__attribute__((noreturn, used)) static void child_main(struct birth *birth)
{
	static char *const empty[] = { NULL };
	static char *const argv[] = { "stage", NULL };
	reset_signals();
	birth->failed = sys5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (birth->failed == 0)
		birth->failed = place_descriptors(birth);
	long stage = birth->failed;
	if (stage >= 0)
		birth->failed = sys5(SYS_execveat, stage, "", argv, empty, AT_EMPTY_PATH);
	for (;;)
		sys3(SYS_exit_group, 126, 0, 0);
}

/* clone3(2) whose child starts on args->stack by calling child_main(birth). */
static long clone3_child(struct clone_args *args, struct birth *birth)
{
#if defined(__x86_64__)
	long result = SYS_clone3;
	register struct birth *arg __asm__("r12") = birth;
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "call child_main\n"
			 "1:"
			 : "+a"(result)
			 : "D"(args), "S"(sizeof *args), "r"(arg)
			 : "rcx", "r11", "memory");
	return result;
#else
	register long x8 __asm__("x8") = SYS_clone3;
	register long x0 __asm__("x0") = (long)args;
	register long x1 __asm__("x1") = sizeof *args;
	register struct birth *arg __asm__("x20") = birth;
	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x20\n\t"
			 "bl child_main\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(arg)
			 : "memory", "x30");
	return x0;
#endif
}

/*
 * Makes a child in new namespaces (flags: CLONE_NEW*, CLONE_PARENT), born in the cgroup whose directory cgroup_fd is (-1: the
 * parent's), which at once executes the stage. Returns its pid; *pidfd_out owns a close-on-exec pidfd.
 * vfork-like: the cost does not depend on the size of Node. The caller must be Node's main thread, because the
 * stage's parent-death signal fires when the thread ends that made it.
 */
EXPORT long tinyctr_spawn(uint64_t flags, int cgroup_fd, int stage_fd, const int32_t *fds, int fd_count,
			  int32_t *pidfd_out)
{
	static char stack[16384] __attribute__((aligned(16)));
	struct birth birth = { fds, fd_count, stage_fd, 0 };
	unsigned long all = ~0UL, old;
	int32_t pidfd = -1;
	struct clone_args args = {
		.flags = flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND |
			 (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, /* with CLONE_PARENT it is the caller's own */
		.stack = (uintptr_t)stack,
		.stack_size = sizeof stack,
		.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};
	if (fd_count < 0 || fd_count > MAX_STAGE_FDS)
		return -7; /* E2BIG */
	/* No signal may run a handler of Node's in the child, which shares its memory. */
	sys4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, sizeof all);
	long pid = clone3_child(&args, &birth);
	sys4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof old);
	if (pid < 0)
		return pid;
	*pidfd_out = pidfd;
	if (birth.failed < 0) {
		siginfo_t info;
		sys5(SYS_waitid, 3 /* P_PIDFD */, pidfd, &info, 4 /* WEXITED */, 0);
		sys3(SYS_close, pidfd, 0, 0);
		return birth.failed;
	}
	return pid;
}

static int caught;

/* A full pipe loses nothing that matters: its reader looks after the child anyway. */
static void note_signal(int number)
{
	uint8_t byte = number;
	sys3(SYS_write, caught, &byte, 1); /* not write(2): errno stays as it was */
}

/* From now on each of these signals becomes a byte in the pipe `fd`, whichever of Node's threads gets it. */
EXPORT long tinyctr_catch_signals(int fd, const uint8_t *numbers, int count)
{
	struct sigaction action = { .sa_handler = note_signal, .sa_flags = SA_RESTART };
	caught = fd;
	for (int i = 0; i < count; i++)
		if (sigaction(numbers[i], &action, NULL) < 0)
			return -22; /* EINVAL */
	return 0;
}

/* Sends one frame, in packets of at most FRAGMENT_SIZE; the descriptors (borrowed) go with the first. */
EXPORT long tinyctr_send(int sock, const uint8_t *frame, uint32_t length, const int32_t *fds, uint32_t fd_count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int32_t))];
	if (fd_count > MAX_DESCRIPTORS)
		return -7; /* E2BIG */
	for (uint32_t sent = 0; sent < length;) {
		uint32_t part = length - sent < FRAGMENT_SIZE ? length - sent : FRAGMENT_SIZE;
		struct iovec iov = { (void *)(frame + sent), part };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		if (sent == 0 && fd_count > 0) {
			msg.msg_control = control;
			msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int32_t));
			struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
			cmsg->cmsg_level = SOL_SOCKET;
			cmsg->cmsg_type = SCM_RIGHTS;
			cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int32_t));
			memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int32_t));
		}
		long result = sys3(SYS_sendmsg, sock, &msg, MSG_NOSIGNAL);
		if (result == -4 /* EINTR */)
			continue;
		if (result < 0)
			return result;
		sent += result;
	}
	return length;
}

/*
 * Receives one packet into frame: its length, 0 when the other end is gone. Descriptors that came along (owned by
 * the caller from now on, close-on-exec) are written to fds, their number to *fd_count; more than fds can hold is -EMSGSIZE.
 */
EXPORT long tinyctr_receive(int sock, uint8_t *frame, uint32_t capacity, int32_t *fds, uint32_t fd_capacity,
			    uint32_t *fd_count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int32_t))];
	struct iovec iov = { frame, capacity };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	long result;
	do
		result = sys3(SYS_recvmsg, sock, &msg, MSG_CMSG_CLOEXEC);
	while (result == -4 /* EINTR */);
	*fd_count = 0;
	if (result < 0)
		return result;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		const char *came = (const char *)CMSG_DATA(cmsg);
		uint32_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int32_t);
		for (uint32_t i = 0; i < count; i++) {
			int32_t fd;
			memcpy(&fd, came + i * sizeof fd, sizeof fd);
			if (*fd_count < fd_capacity)
				fds[(*fd_count)++] = fd;
			else
				sys3(SYS_close, fd, 0, 0), result = -90; /* EMSGSIZE */
		}
	}
	return msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -90 : result;
}

/*
 * bpf(BPF_PROG_LOAD): union bpf_attr wants addresses, which JavaScript does not have. Returns a close-on-exec descriptor.
 * With log_size 0 the verifier says nothing.
 */
EXPORT long tinyctr_bpf_prog_load(uint32_t type, const void *insns, uint32_t count, const char *license, char *log,
				  uint32_t log_size)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof attr);
	attr.prog_type = type;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = count;
	attr.license = (uintptr_t)license;
	attr.log_level = log_size > 0;
	attr.log_size = log_size;
	attr.log_buf = log_size > 0 ? (uintptr_t)log : 0;
	long result;
	do
		result = sys3(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
	while (result == -11 /* EAGAIN: a signal came while the verifier was at work */);
	return result;
}
