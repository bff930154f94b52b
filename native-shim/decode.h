/*
 * Checks a request frame and turns its offsets into addresses. Every length is compared before it is used; a frame
 * that breaks any rule is refused whole (NULL) and none of its calls is carried out.
 */
#ifndef TINYCTR_DECODE_H
#define TINYCTR_DECODE_H

#include <stddef.h>
#include "protocol.h"

/* Valid once sizeof(struct request) bytes are there. A length beyond all bounds stops the reading at once. */
static inline size_t frame_length(const uint8_t *frame)
{
	const struct request *request = (const struct request *)frame;
	return request->magic == PROTOCOL_MAGIC && request->length <= MAX_FRAME ? request->length : 0;
}

static inline struct call *request_calls(const struct request *request)
{
	return (struct call *)(request + 1);
}

static inline struct relocation *request_relocations(const struct request *request)
{
	return (struct relocation *)(request_calls(request) + request->calls);
}

static inline uint8_t *request_data(const struct request *request)
{
	return (uint8_t *)(request_relocations(request) + request->relocations);
}

static inline int within(uint32_t offset, uint64_t size, uint32_t length)
{
	return offset + size <= length;
}

static inline struct request *decode_request(uint8_t *frame, size_t got)
{
	struct request *request = (struct request *)frame;
	if (got < sizeof *request || request->magic != PROTOCOL_MAGIC || request->length != got || got > MAX_FRAME)
		return NULL;
	if (request->calls == 0 || request->calls > MAX_CALLS || request->relocations > MAX_RELOCATIONS)
		return NULL;
	uint64_t head = sizeof *request + request->calls * sizeof(struct call) +
			request->relocations * sizeof(struct relocation);
	if (head + request->data_length != got || request->data_length % 8 != 0)
		return NULL;
	uint8_t *data = request_data(request);
	uint32_t length = request->data_length;
	if (length > 0 && data[length - 1] != 0) /* the last string ends */
		return NULL;
	if (!within(request->out_offset, request->out_length, length))
		return NULL;
	if (sizeof(struct reply) + request->calls * 8 + MAX_DESCRIPTORS * 4 + (uint64_t)request->out_length > MAX_REPLY)
		return NULL;
	for (uint32_t i = 0; i < request->relocations; i++) {
		struct relocation *relocation = &request_relocations(request)[i];
		if (relocation->at % 8 != 0 || !within(relocation->at, 8, length) || !within(relocation->target, 1, length))
			return NULL;
		*(uint64_t *)(data + relocation->at) = (uintptr_t)(data + relocation->target);
	}
	for (uint32_t i = 0; i < request->calls; i++) {
		struct call *call = &request_calls(request)[i];
		if (call->pointers >> 6 || call->references >> 6 || call->pointers & call->references ||
		    call->flags & ~CALL_FORKS)
			return NULL;
		for (int arg = 0; arg < 6; arg++) {
			if (call->references >> arg & 1 && call->args[arg] >= i)
				return NULL;
			if (!(call->pointers >> arg & 1))
				continue;
			if (call->args[arg] >= length)
				return NULL;
			call->args[arg] += (uintptr_t)data;
		}
	}
	return request;
}

#endif
