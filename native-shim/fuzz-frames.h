/*
 * The frames of fuzz.c: valid ones as the host's side makes them, the same with wrong bits, lengths and offsets, and noise.
 * Included once, after `input`, `seen` and any().
 */

/* A frame as the host's side makes it: calls whose pointers lead to strings, lists of strings and room for answers. */
static void make_valid(uint32_t calls)
{
	struct request *request = (struct request *)input.bytes;
	uint32_t strings = any(40);
	*request = (struct request){ .magic = PROTOCOL_MAGIC, .calls = calls, .relocations = strings,
				     .data_length = 8 * (2 * strings + 2 + any(64)), .descriptors = any(4) };
	request->out_length = 8 * any(8);
	request->out_offset = request->data_length;
	request->data_length += request->out_length + 8;
	uint8_t *data = request_data(request);
	request->length = data + request->data_length - input.bytes;
	memset(request + 1, 0, request->length - sizeof *request);
	for (uint32_t i = 0; i < strings; i++) {
		request_relocations(request)[i] = (struct relocation){ 8 * i, 8 * (strings + i + 1) };
		memcpy(data + 8 * (strings + i + 1), "string", 6);
	}
	for (uint32_t i = 0; i < calls; i++) {
		struct call *call = &request_calls(request)[i];
		*call = (struct call){ .nr = any(470), .pointers = any(64), .tolerated = { any(3), any(140) }, .serve_fd = 3 };
		call->flags = any(40) == 0 ? CALL_FORKS : 0;
		call->references = i > 0 ? any(64) & ~call->pointers : 0;
		for (int arg = 0; arg < 6; arg++)
			call->args[arg] = call->pointers >> arg & 1    ? 8 * any(request->data_length / 8)
					  : call->references >> arg & 1 ? any(i)
									: any(1u << 31);
	}
	input.length = request->length;
	input.descriptors = request->descriptors;
}

static const uint32_t extremes[] = { 0, 1, 7, 8, 63, 64, 255, 1024, 1025, 1u << 16, (1u << 16) - 100, MAX_RELOCATIONS + 1, MAX_FRAME,
				     MAX_FRAME + 1, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff };

static void put_extreme(uint8_t *at)
{
	uint32_t value = extremes[any(sizeof extremes / sizeof *extremes)], old;
	memcpy(&old, at, 4);
	value = any(3) ? value : old + any(17) - 8; /* a little too much is as good as far too much */
	memcpy(at, &value, 4);
}

/* Lengths that add up again: only a check of the one that is wrong can find it. */
static void repair(void)
{
	struct request *request = (struct request *)input.bytes;
	uint64_t head = sizeof *request + request->calls * (uint64_t)sizeof(struct call) +
			request->relocations * (uint64_t)sizeof(struct relocation);
	request->magic = PROTOCOL_MAGIC;
	request->descriptors = input.descriptors;
	if (head + 8 > MAX_INPUT)
		return;
	if (input.length < head + 8)
		input.length = head + 8;
	request->length = input.length;
	request->data_length = input.length - head;
	if (any(8))
		request->out_offset = request->data_length - (request->out_length < request->data_length ? request->out_length : 8);
}

static void mutate(void)
{
	struct request *request = (struct request *)input.bytes;
	for (uint32_t n = 1 + any(3); n > 0; n--) {
		uint32_t head = sizeof *request + (request->calls % 2048) * sizeof(struct call);
		switch (any(8)) {
		case 0: input.bytes[any(input.length)] ^= 1 << any(8); break;
		case 1: put_extreme(input.bytes + 4 * any(8)); break;
		case 2: put_extreme(input.bytes + 4 * any(input.length / 4)); break;
		case 3: put_extreme(input.bytes + sizeof *request + 4 * any(head < input.length ? head / 4 - 8 : 1)); break;
		case 4: put_extreme(input.bytes + (head < input.length - 8 ? head + 4 * any(2 * (request->relocations % 64) + 1) : 0)); break;
		case 5: input.length = sizeof *request + any(input.length - sizeof *request + 1); break;
		case 6: input.length += 8 * any(any(8) ? 16 : 20000); break;
		case 7: input.bytes[input.length - 1] = any(256); break;
		}
		if (input.length < sizeof *request)
			input.length = sizeof *request;
	}
	if (any(3))
		repair();
	if (any(16) == 0)
		input.descriptors = any(MAX_DESCRIPTORS + 1);
}

static void make_input(void)
{
	memset(input.bytes, any(4) ? 0 : 255, 1 << 17);
	uint32_t calls = 1 + any(any(8) == 0 ? MAX_CALLS + 16 : 12);
	make_valid(calls);
	input.valid = calls <= MAX_CALLS && any(4) == 0;
	if (input.valid || calls > MAX_CALLS)
		return;
	if (any(16))
		mutate();
	else
		for (input.length = any(4096), seen.done = 0; seen.done < input.length; seen.done++)
			input.bytes[seen.done] = any(256);
}
