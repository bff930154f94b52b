/* Writes standard input to the log in the folder it is given, in pieces as they come from a container: FOLDER MAX_SIZE MAX_FILES. */
#define _GNU_SOURCE
#include <stdlib.h>
#include "json-log.h"

int main(int count, char **words)
{
	static char chunk[CHUNK];
	if (count != 4)
		return 2;
	struct json_log log = { open(words[1], O_PATH), -1, atoi(words[3]), atoi(words[2]), 0, 0 };
	for (ssize_t length; (length = read(0, chunk, sizeof chunk)) > 0;)
		log_output(&log, "stdout", chunk, length);
	log_end(&log);
	return 0;
}
