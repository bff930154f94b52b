/*
 * The frames between the host (src/core/stage/protocol.ts, its twin) and the stage (stage.c).
 * Drawn in docs/protocol.md; test/unit/core/stage/protocol.test.ts holds the twins together.
 * Little endian, 8-byte aligned, over a SOCK_SEQPACKET pair; a frame above FRAGMENT_SIZE travels as several packets.
 */
#ifndef TINYCTR_PROTOCOL_H
#define TINYCTR_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_MAGIC 0x54435452u /* "RTCT" */
#define PROTOCOL_VERSION 1u
#define FRAGMENT_SIZE 65536u
#define MAX_FRAME 8388608u
#define MAX_CALLS 1024u
#define MAX_RELOCATIONS 262144u
#define MAX_DESCRIPTORS 16u
#define MAX_REPLY 65536u

/* Where the stage finds what the shim gave it. */
#define STAGE_SOCKET_FD 3
#define STAGE_PAGE_FD 4

/* call.flags */
#define CALL_FORKS 1u /* returns twice: the child goes on serving on call.serve_fd */

/* page.phase */
#define PHASE_NONE 0u
#define PHASE_STARTED 1u
#define PHASE_RETURNED 2u

struct request {
	uint32_t magic;
	uint32_t length;      /* of the whole frame, this header included */
	uint32_t calls;       /* struct call[calls] follows the header */
	uint32_t relocations; /* struct relocation[relocations] follows the calls */
	uint32_t data_length; /* the data follows the relocations; its last byte is 0 */
	uint32_t out_offset;  /* this part of the data comes back with the reply */
	uint32_t out_length;
	uint32_t descriptors; /* that travel with the frame's first packet */
};

struct call {
	uint32_t nr;
	uint16_t flags;
	uint8_t pointers;   /* bit i set: args[i] is an offset into the data */
	uint8_t references; /* bit i set: args[i] stands for the result of that earlier call of the frame */
	uint64_t args[6];
	uint16_t tolerated[2]; /* errnos that don't stop the frame; 0 for none */
	int32_t serve_fd;
};

/* At data offset `at` the stage writes the address of data offset `target`: argv, iovec, sock_fprog. */
struct relocation {
	uint32_t at;
	uint32_t target;
};

/* followed by int64_t results[calls], int32_t descriptors[] (padded to 8), and the out bytes */
struct reply {
	uint32_t magic;
	uint32_t length;
	uint32_t version;
	uint32_t calls; /* carried out; the last of them failed if `failed` is 1 */
	uint32_t failed;
	uint32_t descriptors;
	uint32_t out_length;
	int32_t pid; /* of the stage, as it sees itself */
};

/* Shared memory: what the stage was doing, also when it can't tell any more. */
struct page {
	uint32_t magic;
	uint32_t frame; /* counts frames */
	uint32_t call;  /* index within the frame */
	uint32_t phase;
	int64_t result;
};

#endif
