/*
 * The keeper: parent of all detached containers of a host. It holds what must survive the supervisor (locks, pipes,
 * terminals, children that ended and were not yet written down), carries output to log files, and starts the
 * supervisor when somebody wants it: a connection, or a container that ended. It decides nothing.
 *
 *   keeper RUN_ROOT COMMAND [ARGUMENT...]      COMMAND is the supervisor; what it is given is in keeper.h
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/wait.h>
#include "begin.h"
#include "json-log.h"
#include "supervisor.h"

enum { LISTENER = 1, SUPERVISOR, ORDERS, NEWS, ENDED, OUTPUT }; /* what an event is about; OUTPUT + 1 is the second stream */
enum { SLOTS = 1 << 18, AGAIN_MS = 1000 }; /* more than descriptors reach for; a slot that was never used takes no memory */

static struct slot {
	int32_t pid; /* 0: free */
	int fds[KEPT]; /* -1: closed, or never there */
	int ended, status, untold;
	struct json_log log;
} slots[SLOTS];
static uint32_t slot_count, kept;
static int loop, listener, supervisor = -1, orders = -1, news = -1; /* supervisor: its pidfd */
static int32_t supervisor_pid;
static int64_t started_ms, again_ms, tell_ms; /* again: when the supervisor is to be started anew, 0: when somebody wants it; tell: lost output */
static int is_given; /* the socket is systemd's */
static char **command;

static void watch(int fd, uint32_t events, uint32_t slot, uint32_t kind)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)slot << 8 | kind };
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

/* Returns how much there was. */
static ssize_t carry(struct slot *slot, int second)
{
	static char chunk[CHUNK];
	ssize_t length = read(slot->fds[OUT + second], chunk, sizeof chunk);
	if (length > 0)
		log_output(&slot->log, second ? "stderr" : "stdout", chunk, length);
	else if (length == 0 || (errno != EAGAIN && errno != EINTR))
		drop(&slot->fds[OUT + second]); /* all that could write is gone; EIO of a terminal says the same */
	return length;
}

/* Who has lost output to a full disk is looked at each second. */
static void tell_lost(void)
{
	logs_lost = 0;
	tell_ms = now_ms() + AGAIN_MS;
	for (struct slot *slot = slots; slot < slots + slot_count; slot++)
		log_tell(&slot->log);
}

/* What the supervisor does not know yet. What finds no room in the pipe comes when it has read: the event is NEWS. */
static void tell(void)
{
	for (struct slot *slot = slots; slot < slots + slot_count; slot++) {
		struct news one = { slot->pid, slot->ended, slot->status, slot->fds[IN] };
		if (slot->untold && write(news, &one, sizeof one) < 0)
			return;
		slot->untold = 0;
	}
}

/* What keeps it from starting is tried again. */
static void start_supervisor(void)
{
	struct news first = { 0, KEEPER_VERSION, kept, -1 };
	if (supervisor >= 0)
		return;
	epoll_ctl(loop, EPOLL_CTL_DEL, listener, NULL);
	started_ms = now_ms();
	supervisor_pid = spawn_supervisor(command, listener, &orders, &news, &supervisor);
	again_ms = supervisor_pid < 0 ? started_ms + AGAIN_MS : 0;
	if (supervisor_pid < 0)
		return;
	watch(supervisor, EPOLLIN, 0, SUPERVISOR);
	if (write(news, &first, sizeof first) < 0)
		return; /* it is dead already */
	watch(orders, EPOLLIN, 0, ORDERS);
	watch(news, EPOLLOUT | EPOLLET, 0, NEWS); /* at once, and whenever there is room again */
	for (uint32_t i = 0; i < slot_count; i++)
		slots[i].untold = slots[i].pid != 0;
}

static void forget(struct slot *slot)
{
	for (int second = 0; second < 2; second++) /* what is still in the pipe, and no more: others may hold it open and go on writing */
		for (int chunks = 0; chunks < 256 && slot->fds[OUT + second] >= 0 && carry(slot, second) > 0; chunks++)
			;
	waitpid(slot->pid, NULL, WNOHANG);
	log_end(&slot->log);
	for (int i = 0; i < KEPT; i++)
		drop(&slot->fds[i]);
	slot->pid = slot->untold = 0;
	kept--;
}

/* `given`: its descriptors. Where fewer came than were sent, no number was free for one (EMFILE): it is not let run. */
static void keep(struct slot *slot, const struct order *order, const int *given, int count)
{
	int all = count == __builtin_popcount(order->present);
	*slot = (struct slot){ .pid = order->pid, .untold = 1, .log = { -1, -1, order->max_files, order->max_size, 0, 0 } };
	for (int i = 0; i < KEPT; i++)
		slot->fds[i] = order->present >> i & 1 && count-- > 0 ? *given++ : -1;
	slot->log.folder = slot->fds[LOG_FOLDER];
	slot_count += slot == slots + slot_count;
	kept++;
	if (all)
		watch(slot->fds[CHILD], EPOLLIN, slot - slots, ENDED);
	else if (kill(slot->pid, SIGKILL) == 0)
		slot->ended = CLD_KILLED, slot->status = SIGKILL;
	for (int second = 0; second < 2; second++)
		if (slot->fds[OUT + second] >= 0 && fcntl(slot->fds[OUT + second], F_SETFL, O_RDWR | O_NONBLOCK) == 0)
			watch(slot->fds[OUT + second], EPOLLIN, slot - slots, OUTPUT + second);
	tell();
}

/* One of the supervisor's; 0 where there is none: at its end its pidfd tells. */
static int take_order(void)
{
	struct order order;
	int given[KEPT], count;
	struct slot *slot = slots, *end = slots + slot_count;
	if (!receive_order(orders, &order, given, &count))
		return 0;
	while (slot < end && slot->pid != (order.what == KEEP ? 0 : order.pid))
		slot++;
	if (order.what == KEEP && slot < slots + SLOTS)
		keep(slot, &order, given, count);
	else if (order.what == FORGET && slot == end)
		waitpid(order.pid, NULL, WNOHANG); /* one that never became a container */
	else if (order.what == FORGET)
		forget(slot);
	else if (order.what == END_INPUT && slot < end)
		drop(&slot->fds[IN]);
	return 1;
}

/* The container's first process is dead; it stays a zombie until the supervisor has written it down. */
static void child_ended(struct slot *slot)
{
	siginfo_t info = { 0 };
	if (waitid(P_PIDFD, slot->fds[CHILD], &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == 0)
		return; /* the event was about who had the slot before */
	epoll_ctl(loop, EPOLL_CTL_DEL, slot->fds[CHILD], NULL);
	slot->ended = info.si_code ? info.si_code : CLD_KILLED;
	slot->status = info.si_status;
	slot->untold = 1;
	tell();
	start_supervisor();
}

/* It comes back at once when it was killed, or when it left just as a container ended; in a second, if it did not live for one. */
static void supervisor_ended(void)
{
	int status = 0, connection;
	while (take_order()) /* what it said before its end holds */
		;
	waitpid(supervisor_pid, &status, 0);
	drop(&supervisor);
	drop(&orders);
	drop(&news);
	watch(listener, EPOLLIN, 0, LISTENER);
	int is_wanted = status != 0, lived = now_ms() - started_ms > AGAIN_MS;
	for (uint32_t i = 0; i < slot_count; i++)
		is_wanted |= slots[i].pid && slots[i].ended;
	if (kept == 0 && WIFEXITED(status) && !(is_wanted && lived)) {
		if (!is_given)
			unlink(SOCKET_NAME);
		exit(WEXITSTATUS(status)); /* who connects meanwhile sees the end, and begins anew */
	}
	if (is_wanted && lived)
		return start_supervisor();
	again_ms = is_wanted ? now_ms() + AGAIN_MS : 0;
	while (is_wanted && (connection = accept(listener, NULL, NULL)) >= 0)
		close(connection);
}

int main(int count, char **words)
{
	if (count < 3 || !is_only_one(words[1], LOCK_NAME))
		return 2;
	command = take_command(count, words);
	leave_caller();
	listener = listening_socket(SOCKET_NAME, &is_given);
	loop = epoll_create1(EPOLL_CLOEXEC);
	if (listener < 0 || loop < 0)
		return 1;
	watch(listener, EPOLLIN, 0, LISTENER);
	for (;;) {
		struct epoll_event events[64];
		int ready = epoll_wait(loop, events, 64, again_ms != 0 || logs_lost ? AGAIN_MS / 10 : -1);
		for (int i = 0; i < ready; i++) {
			uint32_t kind = events[i].data.u64 & 0xff;
			struct slot *slot = &slots[events[i].data.u64 >> 8];
			if (kind == LISTENER)
				start_supervisor();
			else if (kind == SUPERVISOR && supervisor >= 0)
				supervisor_ended();
			else if (kind == ORDERS)
				take_order();
			else if (kind == NEWS)
				tell();
			else if (kind == ENDED && slot->pid && !slot->ended)
				child_ended(slot);
			else if (kind >= OUTPUT && slot->fds[kind - OUTPUT + OUT] >= 0)
				carry(slot, kind - OUTPUT);
		}
		if (again_ms != 0 && now_ms() >= again_ms)
			start_supervisor();
		if (logs_lost && now_ms() >= tell_ms)
			tell_lost();
	}
}
