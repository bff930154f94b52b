/*
 * The whole of stage.c, fed with wrong frames, in a process whose system call is a stub: a decoded call never enters the
 * kernel. The stub holds what the stage would have handed to it against the frame that was received.
 * Use: fuzz SEED ITERATIONS. Ends with a line of counts and status 0, or with what broke and 1 (or a sanitizer's word).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol.h"

static long transport(long nr, long a, long b);
static long carried_out(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);

/* In the place of sys.h: the stage's own calls go through sys3, those of a frame through sys6. */
#define TINYCTR_SYS_H
#define sys3(nr, a, b, c) transport(nr, (long)(a), (long)(b))
#define sys6(nr, a, b, c, d, e, f) \
	carried_out(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))
#define __asm__(start) struct no_start /* the C library has a _start */
#define memcpy stage_memcpy
#define memset stage_memset
#include "stage.c"
#undef memcpy
#undef memset

#define MAX_INPUT (1u << 20)

static struct {
	uint8_t bytes[MAX_INPUT];
	uint32_t length, sent;
	int descriptors, valid;
} input;
static struct { uint64_t frames, accepted, calls; uint32_t done; } seen;
static int64_t given[MAX_CALLS]; /* the results of the current frame */
static struct page shared;
static jmp_buf left;
static uint64_t random_state;

__attribute__((noreturn, format(printf, 1, 2))) static void broken(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fprintf(stderr, "fuzz: frame %llu: ", (unsigned long long)seen.frames);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(1);
}

/* xorshift64*: the same seed gives the same frames everywhere. */
static uint32_t any(uint32_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return below ? (random_state * 2685821657736338717u >> 32) % below : 0;
}

/* --- what the stage may do with a frame */

static void check_pointer(const char *what, uint64_t address)
{
	const struct request *request = (const struct request *)frame;
	uint64_t data = (uintptr_t)request_data(request), end = (uintptr_t)frame + input.length;
	if (address < data || address >= end)
		broken("%s leads to %lld of %u bytes of data", what, (long long)(address - data), request->data_length);
	if (!memchr((void *)address, 0, end - address))
		broken("%s: a string there has no end within the frame", what);
}

static void check_relocations(const struct request *request)
{
	for (uint32_t i = 0; i < request->relocations; i++) {
		const struct relocation *relocation = &request_relocations(request)[i];
		uint64_t at = (uintptr_t)request_data(request) + relocation->at;
		if (at % 8 != 0 || at + 8 > (uintptr_t)frame + input.length)
			broken("relocation %u is written behind the frame or across words, at %u", i, relocation->at);
		check_pointer("a relocation", *(uint64_t *)at);
	}
}

static void check_rules(const struct request *request)
{
	if (request->magic != PROTOCOL_MAGIC || request->length != input.length || (uintptr_t)request % 8 != 0)
		broken("a frame of another length, or none of ours, is carried out");
	if (request->calls > MAX_CALLS || request->relocations > MAX_RELOCATIONS || request->data_length % 8 != 0)
		broken("%u calls, %u relocations, %u bytes of data are carried out", request->calls,
		       request->relocations, request->data_length);
	if ((int)request->descriptors != input.descriptors)
		broken("%u descriptors are announced, %d came", request->descriptors, input.descriptors);
	check_relocations(request);
}

static void check_call(uint32_t index, long nr, const uint64_t *args)
{
	const struct request *request = (const struct request *)frame;
	const struct call *sent = request_calls((const struct request *)input.bytes) + index;
	if (sent->nr != nr || sent->flags & ~CALL_FORKS || (sent->pointers | sent->references) >> 6 ||
	    sent->pointers & sent->references)
		broken("call %u has bits that mean nothing", index);
	for (int i = 0; i < 6; i++) {
		uint64_t expected = sent->args[i];
		if (sent->pointers >> i & 1) {
			check_pointer("an argument", args[i]);
			expected += (uintptr_t)request_data(request);
		} else if (sent->references >> i & 1) {
			if (expected >= index)
				broken("call %u refers to a result that is not there yet", index);
			expected = given[expected];
		}
		if (args[i] != expected)
			broken("argument %d of call %u was changed", i, index);
	}
}

/* A decoded call: nothing is done, the result is any. */
static long carried_out(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	if (!page) /* stage_main maps the shared page */
		return (long)&shared;
	const uint64_t args[] = { a, b, c, d, e, f };
	if (seen.done == 0)
		check_rules((const struct request *)frame);
	check_call(seen.done, nr, args);
	seen.calls++;
	long result = any(64) ? (long)any(1u << 31) << any(20) : -(long)any(8192);
	return given[seen.done++] = result;
}

/* --- the socket */

static long receive(struct msghdr *msg)
{
	uint32_t part = input.length - input.sent;
	if (part > FRAGMENT_SIZE)
		part = FRAGMENT_SIZE;
	if (part > sizeof(struct request) && any(16) == 0) /* a sender that cuts otherwise */
		part = sizeof(struct request) + any(part - sizeof(struct request));
	struct control *control = msg->control;
	msg->control_length = 0;
	if (input.sent == 0 && input.descriptors > 0) {
		*control = (struct control){ .length = 16 + 4 * input.descriptors, .level = SOL_SOCKET, .type = SCM_RIGHTS };
		msg->control_length = sizeof *control;
	}
	if (part > msg->iov->length)
		part = msg->iov->length;
	memcpy(msg->iov->base, input.bytes + input.sent, part);
	input.sent += part;
	return part;
}

static void check_reply(const struct msghdr *msg)
{
	const struct reply *reply = msg->iov[0].base;
	static volatile uint8_t sum;
	size_t length = 0;
	for (size_t i = 0; i < msg->iov_count; i++) {
		const uint8_t *bytes = msg->iov[i].base;
		length += msg->iov[i].length;
		if (length > MAX_REPLY)
			broken("a reply of more than %u bytes", MAX_REPLY);
		if (bytes >= frame && bytes < frame + sizeof frame && msg->iov[i].length > 0 &&
		    (bytes < request_data((struct request *)frame) || bytes + msg->iov[i].length > frame + input.length))
			broken("the reply gives away what is no data of the frame");
		for (size_t at = 0; at < msg->iov[i].length; at++)
			sum += bytes[at];
	}
	if (reply->length != length || reply->length % 8 != reply->out_length % 8)
		broken("a reply of %zu bytes says that it has %u", length, reply->length);
	if (reply->calls > MAX_CALLS)
		broken("a reply with %u results", reply->calls);
}

static long transport(long nr, long a, long b)
{
	(void)a;
	if (nr == __NR_exit_group)
		longjmp(left, 1);
	if (nr == __NR_recvmsg)
		return receive((struct msghdr *)b);
	if (nr == __NR_sendmsg) {
		check_reply((struct msghdr *)b);
		seen.accepted += page->frame > 0;
		seen.done = 0;
	}
	return nr == __NR_getpid ? 1 : 0;
}

#include "fuzz-frames.h"

static void run_one(void)
{
	uint64_t accepted = seen.accepted;
	make_input();
	seen.frames++;
	seen.done = input.sent = shared.frame = 0;
	sock = STAGE_SOCKET_FD;
	page = NULL;
	memset(frame + input.length, 0xa5, 4096);
	if (setjmp(left) == 0)
		stage_main();
	for (int i = 0; i < 4096; i++)
		if (frame[input.length + i] != 0xa5)
			broken("a byte behind the frame was written");
	if (input.valid && seen.accepted == accepted)
		broken("a valid frame was refused");
}

int main(int argc, char **argv)
{
	random_state = argc > 1 ? strtoull(argv[1], NULL, 0) * 2 + 1 : 1;
	uint64_t iterations = argc > 2 ? strtoull(argv[2], NULL, 0) : 100000;
	while (seen.frames < iterations)
		run_one();
	printf("fuzz: %llu frames, %llu carried out, %llu calls\n", (unsigned long long)seen.frames,
	       (unsigned long long)seen.accepted, (unsigned long long)seen.calls);
	return 0;
}
