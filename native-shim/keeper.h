/* What the keeper and the supervisor say to each other; its twin is src/supervisor/keeper.ts, and a test compares them. */
#include <stdint.h>

/* In the run root. The lock is held as long as the keeper lives. */
#define SOCKET_NAME ".supervisor.sock"
#define LOCK_NAME ".supervisor.lock"

#define KEEPER_VERSION 1 /* raised with every change below: a keeper outlives the installation it came from */

/* Descriptors that come with KEEP, in this order; `present` says which. */
enum kept { CHILD, LOCK, LOG_FOLDER, OUT, ERR, IN, KEPT };

enum what { KEEP = 1, FORGET, END_INPUT };

/* From the supervisor, a packet each. */
struct order {
	uint32_t what;
	int32_t pid;
	uint32_t present; /* bits of enum kept */
	uint32_t max_files; /* of the log, the current one counted */
	uint64_t max_size; /* bytes of a log file; 0: any */
};

/* To the supervisor: first one of pid 0 (ended: KEEPER_VERSION, status: how many there are), then one for each child that
 * the keeper has; after that for each that came, or ended. */
struct news {
	int32_t pid;
	int32_t ended; /* CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0: it runs */
	int32_t status; /* exit status or signal */
	int32_t input; /* the keeper's descriptor of IN, for pidfd_getfd(2); -1: none */
};
