/*
 * What bin/tinyctr and bin/tinyctr-oci are links to, in dist/ under these names: starts Node by the absolute path that the
 * build recorded, for a caller may have no PATH at all (podman), or one without Node (sudo). Freestanding like the stage: a
 * shell script in its place takes 0.7 ms longer, for most of which libc asks the processor for its caches.
 *
 * node-path, beside it, has three lines: Node; V8's flags for `run` and all of tinyctr-oci; those for `pull`. The build says why.
 */
#include <stddef.h>
#include <fcntl.h>
#include <asm/unistd.h>
#include "sys.h"

#define X_OK 1
#define FLAGS 16 /* at most, of a line */

/* NODE_EXTRA_CA_CERTS costs Node 40 ms at its start; it is kept aside for whoever fetches over the network. */
static const char costly[] = "NODE_EXTRA_CA_CERTS=", aside[] = "TINYCTR_EXTRA_CA_CERTS=";

static char folder[4096], script[4096 + 64], text[4096];

static size_t length_of(const char *string)
{
	size_t length = 0;
	while (string[length])
		length++;
	return length;
}

static int begins(const char *string, const char *with)
{
	while (*with && *string == *with)
		string++, with++;
	return !*with;
}

static int same(const char *a, const char *b)
{
	return begins(a, b) && length_of(a) == length_of(b);
}

/* Returns where it ends. */
static char *append(char *to, const char *string)
{
	while (*string)
		*to++ = *string++;
	*to = 0;
	return to;
}

/* Cuts at the first one. Returns what follows. */
static char *cut(char *string, char at)
{
	while (*string && *string != at)
		string++;
	if (*string)
		*string++ = 0;
	return string;
}

__attribute__((noreturn)) static void leave(const char *program)
{
	static char message[sizeof folder + 256];
	char *end = append(append(message, program), ": not built, or Node has moved since: run \"npm install\" in ");
	size_t top = length_of(folder);
	while (top > 0 && folder[--top] != '/')
		;
	folder[top] = 0;
	end = append(append(end, folder), "\n");
	sys3(__NR_write, 2, message, end - message);
	sys3(__NR_exit_group, 125, 0, 0);
	__builtin_trap();
}

/* NODE_EXTRA_CA_CERTS is `instead`, which takes the place of one that is there already. */
static void set_aside(char **environment, char *instead)
{
	char **to = environment;
	for (char **from = environment; *from; from++)
		if (!begins(*from, costly) && !begins(*from, aside))
			*to++ = *from;
	*to++ = instead;
	*to = NULL;
}

__attribute__((noreturn, used)) void launch(long *stack)
{
	int count = stack[0], runs = 0, pulls = 0;
	char **words = (char **)(stack + 1), **environment = words + count + 1;
	long length = sys4(__NR_readlinkat, AT_FDCWD, "/proc/self/exe", folder, sizeof folder - 1);
	char *program = folder + (length > 0 ? length : 0);
	while (program > folder && *program != '/')
		program--;
	if (*program)
		*program++ = 0;
	append(append(script, folder), "/node-path");
	long file = sys4(__NR_openat, AT_FDCWD, script, O_RDONLY, 0);
	sys3(__NR_read, file, text, sizeof text - 1);
	sys3(__NR_close, file, 0, 0);
	char *node = text, *flags = cut(node, '\n'), *small = cut(flags, '\n');
	cut(small, '\n');
	if (sys3(__NR_faccessat, AT_FDCWD, node, X_OK) < 0)
		leave(program);

	for (int i = 1; i < count; i++) {
		runs |= same(words[i], "run");
		pulls |= same(words[i], "pull");
	}
	const char *given = runs || same(program, "tinyctr-oci") ? flags : pulls ? small : "";
	const char *certificates = "";
	for (char **one = environment; *one; one++)
		if (begins(*one, costly))
			certificates = *one + sizeof costly - 1;
	char instead[sizeof aside + length_of(certificates)], *arguments[count + FLAGS + 3], **next = arguments;
	append(append(instead, aside), certificates);
	if (*certificates)
		set_aside(environment, instead);
	*next++ = node;
	for (char *flag = (char *)given, *rest; *flag && next < arguments + FLAGS; flag = rest) {
		rest = cut(flag, ' ');
		*next++ = flag;
	}
	*next++ = "--"; /* after it Node leaves all options to us: it would take --env-file for its own, wherever it stands */
	append(append(append(append(script, folder), "/"), program), ".cjs");
	*next++ = script;
	for (int i = 1; i < count; i++)
		*next++ = words[i];
	*next = NULL;
	sys3(__NR_execve, node, arguments, environment);
	leave(program);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall launch\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb launch\n");
#endif
