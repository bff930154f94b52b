/*
 * A container's log, as docker's json-file has it: {"log":"…\n","stream":"stdout","time":"…"}, a line for each piece of
 * output, which is a line of text, or a part of one where it came in parts. It is read by src/engine/logs.ts.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_NAME "container.log"
#define CHUNK 16384 /* bytes of output at most, each time: then it is the next container's turn */

struct json_log {
	int folder; /* -1: nobody wants to read it */
	int file; /* -1: not open */
	uint32_t max_files; /* the current one counted */
	uint64_t max_size; /* bytes of a file; 0: any */
	uint64_t size; /* bytes in the current one */
	uint64_t lost; /* pieces that could not be written, and nobody was told of */
};

static int logs_lost; /* output of one of them at least, since this was set to 0 */

static void log_open(struct json_log *log, int flags)
{
	struct stat status;
	log->file = openat(log->folder, LOG_NAME, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	log->size = log->file >= 0 && fstat(log->file, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static void log_close(struct json_log *log)
{
	if (log->file >= 0)
		close(log->file);
	log->file = -1;
}

/* LOG_NAME becomes LOG_NAME.1, that becomes .2, and so on; the last is no more. */
static void log_rotate(struct json_log *log)
{
	char from[sizeof LOG_NAME + 16], to[sizeof LOG_NAME + 16];
	for (uint32_t i = log->max_files - 1; i > 0 && log->max_files > 0; i--) {
		snprintf(from, sizeof from, i > 1 ? "%s.%u" : "%s", LOG_NAME, i - 1);
		snprintf(to, sizeof to, "%s.%u", LOG_NAME, i);
		renameat(log->folder, from, log->folder, to);
	}
	log_close(log);
	log_open(log, O_TRUNC);
}

/* Lines that hold so many pieces: all of them or none. */
static void log_write(struct json_log *log, const char *lines, size_t length, uint64_t pieces)
{
	for (size_t done = 0; done < length;) {
		ssize_t result = write(log->file, lines + done, length - done);
		if (result < 0 && errno != EINTR) { /* the disk is full: half a line must not stay */
			if (done > 0 && ftruncate(log->file, lseek(log->file, 0, SEEK_CUR) - done) < 0)
				log_close(log);
			log->lost += pieces;
			logs_lost = 1;
			return;
		}
		done += result > 0 ? result : 0;
	}
	log->size += length;
	log->lost = 0;
}

/* One line; returns its length, at most six times the text's and LINE_MORE. Bytes above 0x7f stay as they are. */
#define LINE_MORE 128
static size_t log_line(char *to, const char *text, size_t length, const char *stream, const char *when)
{
	static const char hex[] = "0123456789abcdef";
	char *at = stpcpy(to, "{\"log\":\"");
	for (size_t i = 0; i < length; i++) {
		unsigned char c = text[i];
		if (c == '\n')
			at = stpcpy(at, "\\n");
		else if (c == '"' || c == '\\')
			*at++ = '\\', *at++ = c;
		else if (c < 0x20 || c == 0x7f)
			at = stpcpy(at, "\\u00"), *at++ = hex[c >> 4], *at++ = hex[c & 15];
		else
			*at++ = c;
	}
	return at + sprintf(at, "\",\"stream\":\"%s\",\"time\":\"%s\"}\n", stream, when) - to;
}

/* RFC 3339 with nanoseconds, UTC. */
static void log_time(char when[64])
{
	struct timespec now;
	struct tm parts;
	clock_gettime(CLOCK_REALTIME, &now);
	strftime(when, 40, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &parts));
	sprintf(when + strlen(when), ".%09ldZ", now.tv_nsec);
}

static size_t log_note(char *to, uint64_t lost, const char *when)
{
	char note[128];
	int length = sprintf(note, "tinyctr: %lu pieces of output are lost: the disk was full\n", lost);
	return log_line(to, note, length, "stderr", when);
}

/* Tells what is lost, if there is room by now, also of a container that writes no more. */
static void log_tell(struct json_log *log)
{
	char note[256 + LINE_MORE], when[64];
	if (log->lost == 0)
		return;
	if (log->file < 0)
		log_open(log, 0);
	log_time(when);
	log_write(log, note, log_note(note, log->lost, when), 0);
}

/* Nobody writes any more. */
static void log_end(struct json_log *log)
{
	log_tell(log);
	log_close(log);
	log->lost = 0;
}

/* At most CHUNK bytes that a container wrote. Lines go to the file together: a container may write millions of them. */
static void log_output(struct json_log *log, const char *stream, const char *text, size_t length)
{
	static char lines[6 * CHUNK + 4 * LINE_MORE];
	char when[64];
	size_t used = 0;
	uint64_t pieces = 0;
	if (log->folder < 0)
		return;
	if (log->file < 0)
		log_open(log, 0);
	log_time(when);
	for (size_t at = 0, part; at < length; at += part, pieces++) {
		const char *end = memchr(text + at, '\n', length - at);
		part = end ? (size_t)(end + 1 - (text + at)) : length - at;
		int is_full = log->max_size > 0 && log->size + used >= log->max_size;
		if (used > 0 && (is_full || used + 6 * part + LINE_MORE > sizeof lines)) {
			log_write(log, lines, used, pieces);
			used = pieces = 0;
		}
		if (is_full)
			log_rotate(log);
		if (used == 0 && log->lost > 0)
			used = log_note(lines, log->lost, when);
		used += log_line(lines + used, text + at, part, stream, when);
	}
	log_write(log, lines, used, pieces);
}
