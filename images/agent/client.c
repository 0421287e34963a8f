// SPDX-License-Identifier: GPL-2.0-or-later
/* The client module's device, and the words of a scenario's line. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

bool words_parse(struct words *words, char *line)
{
	char *word;

	words->count = 0;
	while ((word = strsep(&line, " "))) {
		char *value = strchr(word, '=');

		if (!*word)
			continue;
		if (!value || words->count == WORDS)
			return false;
		*value++ = '\0';
		words->word[words->count].key = word;
		words->word[words->count++].value = value;
	}
	return true;
}

const char *words_text(const struct words *words, const char *key)
{
	int i;

	for (i = 0; i < words->count; i++)
		if (!strcmp(words->word[i].key, key))
			return words->word[i].value;
	return NULL;
}

long words_number(const struct words *words, const char *key, long otherwise)
{
	const char *value = words_text(words, key);

	return value ? strtol(value, NULL, 0) : otherwise;
}

static int client_fd = -1;

long client_ask(const char *line, size_t len, char *answer, size_t room)
{
	ssize_t got;

	if (client_fd < 0)
		client_fd = open(CLIENT_DEVICE, O_RDWR | O_CLOEXEC);
	if (client_fd < 0 || write(client_fd, line, len) < 0)
		return -errno;
	got = read(client_fd, answer, room);
	if (got < 0)
		return -errno;
	while (got && answer[got - 1] == '\n')
		got--;
	return got;
}

void client_let_go(void)
{
	if (client_fd >= 0)
		close(client_fd);
	client_fd = -1;
}
