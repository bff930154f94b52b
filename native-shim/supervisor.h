/* The keeper's end of the way to the supervisor: its birth, and a packet of its orders. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "keeper.h"

/*
 * A child that executes `command` with the listening socket, the orders and the news as 3, 4 and 5. Returns its pid, with
 * our ends of both and its pidfd; -1, and they are -1, where something (descriptors, processes, memory) is short.
 */
static int32_t spawn_supervisor(char **command, int listener, int *orders, int *news, int *pidfd)
{
	int pair[2] = { -1, -1 }, pipe[2] = { -1, -1 };
	*orders = *news = *pidfd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	int32_t pid = pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0 ? fork() : -1;
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
	if (pid > 0)
		*pidfd = syscall(SYS_pidfd_open, pid, 0); /* two descriptors are free again */
	if (*pidfd < 0) { /* a child that finds the other ends closed has nothing to do */
		close(pair[0]);
		close(pipe[1]);
		return -1;
	}
	*orders = pair[0];
	*news = pipe[1];
	return pid;
}

/*
 * Takes one packet: 1, with the number of descriptors that came along (close-on-exec, the caller's now); 0 where there is
 * none. `order->what` is 0 for what is no order.
 */
static int receive_order(int socket, struct order *order, int fds[KEPT], int *count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(KEPT * sizeof(int))];
	struct iovec iov = { order, sizeof *order };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (length <= 0)
		return 0;
	struct cmsghdr *came = CMSG_FIRSTHDR(&message);
	*count = came ? (came->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
	for (int i = 0; i < *count; i++)
		fds[i] = ((int *)CMSG_DATA(came))[i];
	if (length == sizeof *order && order->pid > 0 && (order->what == KEEP || *count == 0))
		return 1;
	order->what = 0;
	while (*count > 0)
		close(fds[--*count]);
	return 1;
}
