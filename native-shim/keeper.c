/*
 * The keeper: parent of all detached containers of a host. It holds what must survive the supervisor (locks, pipes,
 * terminals, children that ended and were not yet written down), carries output to log files, and starts the
 * supervisor when somebody wants it: a connection, or a container that ended. It decides nothing.
 *
 *   keeper RUN_ROOT COMMAND [ARGUMENT...]      COMMAND is the supervisor; what it is given is in keeper.h
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "keeper.h"

enum { LISTENER = 1, SUPERVISOR, ORDERS, ENDED, OUTPUT }; /* what an event is about; OUTPUT + 1 is the second stream */

struct slot {
	int32_t pid; /* 0: free */
	int fds[KEPT]; /* -1: closed, or never there */
	int log, ended, status;
	uint64_t size, lost; /* bytes in the log file; lines that found no room */
	struct order order;
};

static struct slot *slots;
static uint32_t slot_count, kept;
static int loop, listener, supervisor = -1, orders = -1, news = -1; /* supervisor: its pidfd */
static int32_t supervisor_pid;
static time_t started;
static int soon; /* the supervisor is to be started in a second */
static char **command;

static void watch(int fd, uint32_t slot, uint32_t kind)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)slot << 8 | kind };
	epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

static void drop(int *fd)
{
	if (*fd < 0)
		return;
	epoll_ctl(loop, EPOLL_CTL_DEL, *fd, NULL); /* somebody else may have the same open file */
	close(*fd);
	*fd = -1;
}

static void open_log(struct slot *slot, int flags)
{
	struct stat status;
	slot->log = openat(slot->fds[LOG_FOLDER], LOG_NAME, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	slot->size = slot->log >= 0 && fstat(slot->log, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* LOG_NAME becomes LOG_NAME.1, that becomes .2, and so on; the last is no more. */
static void rotate(struct slot *slot)
{
	char from[sizeof LOG_NAME + 16], to[sizeof LOG_NAME + 16];
	for (uint32_t i = slot->order.max_files - 1; i > 0; i--) {
		snprintf(from, sizeof from, i > 1 ? "%s.%u" : "%s", LOG_NAME, i - 1);
		snprintf(to, sizeof to, "%s.%u", LOG_NAME, i);
		renameat(slot->fds[LOG_FOLDER], from, slot->fds[LOG_FOLDER], to);
	}
	drop(&slot->log);
	open_log(slot, O_TRUNC);
}

/* All of it or nothing. */
static int append(struct slot *slot, const char *text, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t result = write(slot->log, text + done, length - done);
		if (result < 0 && errno != EINTR)
			return ftruncate(slot->log, slot->size) - 1;
		done += result > 0 ? result : 0;
	}
	slot->size += length;
	return 0;
}

/* One line of the log file, as docker's json-file has it; bytes above 0x7f stay as they are. */
static size_t record(char *to, const char *text, size_t length, const char *stream, const char *when)
{
	char *at = stpcpy(to, "{\"log\":\"");
	for (size_t i = 0; i < length; i++) {
		unsigned char c = text[i];
		if (c == '\n')
			at = stpcpy(at, "\\n");
		else if (c == '"' || c == '\\')
			*at++ = '\\', *at++ = c;
		else if (c < 0x20 || c == 0x7f)
			at += sprintf(at, "\\u%04x", c);
		else
			*at++ = c;
	}
	return at + sprintf(at, "\",\"stream\":\"%s\",\"time\":\"%s\"}\n", stream, when) - to;
}

static void keep_output(struct slot *slot, int second, const char *text, size_t length)
{
	static char line[6 * CHUNK + 256];
	char when[64], lost[128];
	struct timespec now;
	struct tm parts;
	if (slot->fds[LOG_FOLDER] < 0)
		return; /* nobody wants to read it */
	if (slot->log < 0)
		open_log(slot, 0);
	clock_gettime(CLOCK_REALTIME, &now);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &parts));
	sprintf(when + 19, ".%09ldZ", now.tv_nsec);
	for (size_t at = 0, part; at < length; at += part) {
		const char *end = memchr(text + at, '\n', length - at);
		part = end ? (size_t)(end + 1 - (text + at)) : length - at;
		if (slot->order.max_size > 0 && slot->size >= slot->order.max_size)
			rotate(slot);
		int note = slot->lost ? sprintf(lost, "tinyctr: %lu pieces of output are lost: the disk was full\n", slot->lost) : 0;
		if (note && append(slot, line, record(line, lost, note, "stderr", when)) == 0)
			slot->lost = 0;
		if (slot->lost || append(slot, line, record(line, text + at, part, second ? "stderr" : "stdout", when)) < 0)
			slot->lost++;
	}
}

/* Returns how much there was. */
static ssize_t carry(struct slot *slot, int second)
{
	static char chunk[CHUNK];
	ssize_t length = read(slot->fds[OUT + second], chunk, sizeof chunk);
	if (length > 0)
		keep_output(slot, second, chunk, length);
	else if (length == 0 || (errno != EAGAIN && errno != EINTR))
		drop(&slot->fds[OUT + second]); /* all that could write is gone; EIO of a terminal says the same */
	return length;
}

static void tell(struct slot *slot)
{
	struct news one = { slot->pid, slot->ended, slot->status, slot->fds[IN] };
	if (news >= 0 && write(news, &one, sizeof one) < 0)
		drop(&news);
}

/* The supervisor gets the listening socket, the orders and the news as 3, 4 and 5. */
static void start_supervisor(void)
{
	int pair[2], pipe[2];
	if (supervisor >= 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(pipe, O_CLOEXEC) < 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		int given[] = { listener, pair[1], pipe[0] };
		for (int i = 0; i < 3; i++)
			given[i] = fcntl(given[i], F_DUPFD, 64);
		for (int i = 0; i < 3; i++)
			dup2(given[i], 3 + i);
		close_range(6, ~0U, 0);
		execv(command[0], command);
		_exit(127);
	}
	close(pair[1]);
	close(pipe[0]);
	orders = pair[0];
	news = pipe[1];
	supervisor_pid = pid;
	supervisor = syscall(SYS_pidfd_open, pid, 0);
	started = time(NULL);
	soon = 0;
	epoll_ctl(loop, EPOLL_CTL_DEL, listener, NULL);
	watch(supervisor, 0, SUPERVISOR);
	watch(orders, 0, ORDERS);
	for (uint32_t i = 0; i < slot_count; i++)
		if (slots[i].pid)
			tell(&slots[i]);
}

static void forget(struct slot *slot)
{
	siginfo_t info;
	for (int second = 0; second < 2; second++) /* what is still in the pipe, and no more: others may hold it open and go on writing */
		for (int chunks = 0; chunks < 64 && slot->fds[OUT + second] >= 0 && carry(slot, second) > 0; chunks++)
			;
	waitid(P_PIDFD, slot->fds[CHILD], &info, WEXITED | WNOHANG);
	for (int i = 0; i < KEPT; i++)
		drop(&slot->fds[i]);
	drop(&slot->log);
	slot->pid = 0;
	kept--;
}

/* A packet of the supervisor's. At its end there is none: its pidfd tells. */
static void take_order(void)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(KEPT * sizeof(int))];
	struct order order = { 0 };
	struct iovec iov = { &order, sizeof order };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	if (recvmsg(orders, &message, MSG_CMSG_CLOEXEC) != sizeof order)
		return drop(&orders);
	struct slot *slot = slots;
	while (slot < slots + slot_count && slot->pid != (order.what == KEEP ? 0 : order.pid))
		slot++;
	if (order.what != KEEP) {
		if (slot < slots + slot_count && order.what == END_INPUT)
			drop(&slot->fds[IN]);
		else if (slot < slots + slot_count)
			forget(slot);
		else
			waitpid(order.pid, NULL, WNOHANG); /* one that never became a container */
		return;
	}
	if (slot == slots + slot_count) {
		slots = reallocarray(slots, ++slot_count, sizeof *slots);
		slot = slots + slot_count - 1;
	}
	*slot = (struct slot){ .pid = order.pid, .log = -1, .order = order };
	int *came = (int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
	for (int i = 0; i < KEPT; i++)
		slot->fds[i] = order.present >> i & 1 ? *came++ : -1;
	kept++;
	watch(slot->fds[CHILD], slot - slots, ENDED);
	for (int second = 0; second < 2; second++)
		if (slot->fds[OUT + second] >= 0 && fcntl(slot->fds[OUT + second], F_SETFL, O_RDWR | O_NONBLOCK) == 0)
			watch(slot->fds[OUT + second], slot - slots, OUTPUT + second);
	tell(slot);
}

/* The container's first process is dead; it stays a zombie until the supervisor has written it down. */
static void child_ended(struct slot *slot)
{
	siginfo_t info = { 0 };
	epoll_ctl(loop, EPOLL_CTL_DEL, slot->fds[CHILD], NULL);
	waitid(P_PIDFD, slot->fds[CHILD], &info, WEXITED | WNOWAIT);
	slot->ended = info.si_code;
	slot->status = info.si_status;
	if (supervisor < 0)
		start_supervisor();
	else
		tell(slot);
}

/* One that was killed comes back at once, unless it did not live for a second: then in a second, or with the next event. */
static void supervisor_ended(void)
{
	int status = 0, connection;
	while (orders >= 0)
		take_order(); /* what it said before its end holds */
	waitpid(supervisor_pid, &status, 0);
	drop(&supervisor);
	drop(&news);
	watch(listener, 0, LISTENER);
	if (status == 0 && kept == 0)
		unlink(SOCKET_NAME), exit(0); /* who connects meanwhile sees the end, and begins anew */
	if (status != 0 && time(NULL) - started > 1)
		start_supervisor();
	else if ((soon = status != 0))
		while ((connection = accept(listener, NULL, NULL)) >= 0)
			close(connection);
}

int main(int count, char **words)
{
	struct sockaddr_un address = { AF_UNIX, SOCKET_NAME };
	struct rlimit files;
	if (count < 3 || chdir(words[1]) < 0)
		return 2;
	command = calloc(count, sizeof *command);
	for (int i = 2; i < count; i++) { /* who looks for the supervisor in a list of processes is to find one */
		command[i - 2] = strdup(words[i]);
		memset(words[i], 0, strlen(words[i]));
	}
	int lock = open(LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return 0; /* another one is there */
	setsid();
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	unlink(SOCKET_NAME);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	loop = epoll_create1(EPOLL_CLOEXEC);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0 || loop < 0)
		return 1;
	watch(listener, 0, LISTENER);
	for (;;) {
		struct epoll_event events[64];
		int ready = epoll_wait(loop, events, 64, soon ? 1000 : -1);
		if (ready == 0)
			start_supervisor();
		for (int i = 0; i < ready; i++) {
			uint32_t kind = events[i].data.u64 & 0xff;
			struct slot *slot = &slots[events[i].data.u64 >> 8];
			if (kind == LISTENER)
				start_supervisor();
			else if (kind == SUPERVISOR)
				supervisor_ended();
			else if (kind == ORDERS && orders >= 0)
				take_order();
			else if (kind == ENDED && slot->pid && !slot->ended)
				child_ended(slot);
			else if (kind >= OUTPUT && slot->fds[kind - OUTPUT + OUT] >= 0)
				carry(slot, kind - OUTPUT);
		}
	}
}
