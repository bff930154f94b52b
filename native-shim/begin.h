/* How the keeper of a run root begins: as the only one, with a socket that its clients find. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* On the clock that nobody sets. */
static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The words of the command line from the third on, taken from it: who looks for the supervisor in a list of processes is to find one. */
static char **take_command(int count, char **words)
{
	char **command = calloc(count, sizeof *command);
	for (int i = 2; i < count; i++) {
		command[i - 2] = strdup(words[i]);
		memset(words[i], 0, strlen(words[i]));
	}
	return command;
}

/* False where another keeper has this folder, as long as it lives. */
static int is_only_one(const char *run_root, const char *lock_name)
{
	int lock = chdir(run_root) < 0 ? -1 : open(lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0;
}

/* A session of its own, signals as they are by default (a caller may have ignored SIGCHLD), as many descriptors as there may be. */
static void leave_caller(void)
{
	struct rlimit files;
	setsid();
	umask(0177);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

/* Descriptor 3 if systemd (or somebody like it) gave a socket, which stays its own then: sd_listen_fds(3). Else a new one; -1: none. */
static int listening_socket(const char *name, int *is_given)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *pid = getenv("LISTEN_PID");
	int listens = 0;
	socklen_t size = sizeof listens;
	*is_given = pid && atoi(pid) == getpid();
	if (*is_given && (getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens))
		return -1;
	if (*is_given)
		return fcntl(3, F_SETFD, FD_CLOEXEC) < 0 || fcntl(3, F_SETFL, O_RDWR | O_NONBLOCK) < 0 ? -1 : 3;
	strcpy(address.sun_path, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(name);
	return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0 ? -1 : fd;
}
