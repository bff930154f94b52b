/*
 * The stage: the single-threaded process inside the namespaces of a container that is being built. It receives
 * frames of system calls, carries them out one by one, and sends the results back. It knows no policy and no names.
 * Freestanding: no C library, no memory but what stands here.
 */
#include <stddef.h>
#include <asm/unistd.h>
#include "protocol.h"
#include "decode.h"
#include "sys.h"

#define MAP_SHARED 1
#define PROT_READ_WRITE 3
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define F_SETFD 2
#define FD_CLOEXEC 1
#define EINTR 4
#define EAGAIN 11
/* "..", where something of the machine was mounted or renamed just then: to be tried again (openat2(2), EAGAIN). */
#define OPENAT2_PATIENCE 10000
#define AT_FDCWD_PAGE_SIZE 4096

struct iovec { void *base; size_t length; };
struct msghdr { void *name; int name_length; struct iovec *iov; size_t iov_count; void *control; size_t control_length; int flags; };
struct control { size_t length; int level, type; int32_t fds[MAX_DESCRIPTORS]; };

static _Alignas(16) uint8_t frame[MAX_FRAME];
static _Alignas(16) uint8_t answer[MAX_REPLY];
static int32_t came[MAX_DESCRIPTORS]; /* descriptors that came with the current frame */
static uint32_t came_count;
static int sock = STAGE_SOCKET_FD;
static volatile struct page *page;

/* gcc may call these for struct copies and loops */
void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = byte;
	return to;
}

__attribute__((noreturn)) static void leave(int status)
{
	sys3(__NR_exit_group, status, 0, 0);
	__builtin_trap(); /* a seccomp filter refused even that: end by SIGILL */
}

static long receive_packet(uint8_t *to, size_t room, struct control *control)
{
	struct iovec iov = { to, room };
	struct msghdr msg = { .iov = &iov, .iov_count = 1, .control = control, .control_length = sizeof *control };
	long length;
	do
		length = sys3(__NR_recvmsg, sock, &msg, MSG_CMSG_CLOEXEC);
	while (length == -EINTR);
	if (length <= 0)
		leave(0); /* the host is gone */
	if (msg.control_length < offsetof(struct control, fds))
		control->length = 0;
	return length;
}

/* Fills `frame` with one whole request; returns its length. The first packet carries the header and the descriptors. */
static size_t receive_frame(void)
{
	struct control control;
	size_t got = receive_packet(frame, sizeof frame, &control);
	came_count = 0;
	if (control.length >= offsetof(struct control, fds) && control.level == SOL_SOCKET && control.type == SCM_RIGHTS) {
		came_count = (control.length - offsetof(struct control, fds)) / sizeof(int32_t);
		for (uint32_t i = 0; i < came_count; i++)
			came[i] = control.fds[i];
	}
	while (got >= sizeof(struct request) && got < frame_length(frame))
		got += receive_packet(frame + got, sizeof frame - got, &control);
	return got;
}

static void send_reply(uint32_t calls, uint32_t failed, const int64_t *results, const uint8_t *out, uint32_t out_length)
{
	struct reply reply = { PROTOCOL_MAGIC, 0, PROTOCOL_VERSION, calls, failed, came_count, out_length,
			       sys3(__NR_getpid, 0, 0, 0) };
	static const char padding[8];
	uint32_t fds_length = came_count * sizeof(int32_t);
	struct iovec iov[] = { { &reply, sizeof reply }, { (void *)results, calls * sizeof *results },
			       { came, fds_length }, { (void *)padding, -fds_length & 7 }, { (void *)out, out_length } };
	struct msghdr msg = { .iov = iov, .iov_count = 5 };
	for (size_t i = 0; i < 5; i++)
		reply.length += iov[i].length;
	long result;
	do
		result = sys3(__NR_sendmsg, sock, &msg, MSG_NOSIGNAL);
	while (result == -EINTR);
	if (result < 0)
		leave(126); /* the host is gone, or a seccomp filter is on: the end of the socket says it, the page says why */
}

/* Carries out the calls of a decoded request, in order, up to the first that fails with an errno nobody tolerates. */
static void perform(const struct request *request)
{
	int64_t *results = (int64_t *)answer;
	uint32_t done = 0, failed = 0;
	page->frame++;
	while (done < request->calls && !failed) {
		struct call *call = &request_calls(request)[done];
		uint64_t *a = call->args;
		for (int arg = 0; arg < 6; arg++)
			if (call->references >> arg & 1)
				a[arg] = results[a[arg]];
		page->call = done;
		page->phase = PHASE_STARTED;
		long result;
		int again = OPENAT2_PATIENCE;
		do
			result = sys6(call->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		while (result == -EAGAIN && call->nr == __NR_openat2 && --again);
		if (call->flags & CALL_FORKS && result == 0) {
			sock = call->serve_fd; /* the child: its first packet is its own answer to this call */
			came_count = 0;
		}
		page->result = result;
		page->phase = PHASE_RETURNED;
		results[done++] = result;
		failed = result < 0 && result >= -4095 && -result != call->tolerated[0] && -result != call->tolerated[1];
	}
	send_reply(done, failed, results, request_data(request) + request->out_offset, request->out_length);
}

__attribute__((noreturn, used)) void stage_main(void)
{
	page = (struct page *)sys6(__NR_mmap, 0, AT_FDCWD_PAGE_SIZE, PROT_READ_WRITE, MAP_SHARED, STAGE_PAGE_FD, 0);
	if ((long)page < 0 && (long)page >= -4095)
		leave(125);
	sys3(__NR_close, STAGE_PAGE_FD, 0, 0);
	sys3(__NR_fcntl, sock, F_SETFD, FD_CLOEXEC);
	page->magic = PROTOCOL_MAGIC;
	send_reply(0, 0, 0, 0, 0); /* the handshake: magic, version, pid */
	for (;;) {
		struct request *request = decode_request(frame, receive_frame());
		if (!request || request->descriptors != came_count)
			leave(125); /* a frame that breaks the rules: the host sees the end of the socket */
		perform(request);
	}
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall stage_main\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tb stage_main\n");
#endif
