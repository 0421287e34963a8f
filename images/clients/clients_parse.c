// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the lines that are written to debugfs say.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include "clients.h"
#include "lines.h"

#define ADDRESS_MAX 0x7f

static int parse_property(char *word, struct client_wish *wish)
{
	char *value = strchr(word, '=');

	if (!value)
		return -EINVAL;
	*value++ = '\0';
	if (!strcmp(word, "vcc"))
		return kstrtou32(value, 0, &wish->microvolts);
	if (wish->count == PROPERTIES_MAX)
		return -EINVAL;
	if (strscpy(wish->names[wish->count], word, PROPERTY_NAME_SIZE) <= 0)
		return -EINVAL;
	return kstrtou32(value, 0, &wish->values[wish->count++]);
}

/**
 * parse_place() - read "BUS ADDRESS"
 * @line: what was written; it is taken apart
 * @bus: where the adapter's number goes
 * @address: where the 7-bit address goes
 *
 * Return: 0, or -EINVAL or -ERANGE
 */
int parse_place(char *line, unsigned int *bus, unsigned int *address)
{
	int ret = next_number(&line, bus);

	if (!ret)
		ret = next_number(&line, address);
	if (ret)
		return ret;
	return next_word(&line) || *address > ADDRESS_MAX ? -EINVAL : 0;
}

/**
 * parse_wish() - read "BUS ADDRESS NAME [irq] [vcc=MICROVOLTS] [PROPERTY=NUMBER]..."
 * @line: what was written; it is taken apart
 * @wish: where it goes
 *
 * Return: 0, or -EINVAL or -ERANGE
 */
int parse_wish(char *line, struct client_wish *wish)
{
	char *word;
	int ret;

	memset(wish, 0, sizeof(*wish));
	ret = next_number(&line, &wish->bus);
	if (!ret)
		ret = next_number(&line, &wish->address);
	if (ret)
		return ret;
	word = next_word(&line);
	if (!word || wish->address > ADDRESS_MAX)
		return -EINVAL;
	if (strscpy(wish->name, word, sizeof(wish->name)) < 0)
		return -EINVAL;
	while ((word = next_word(&line))) {
		if (!strcmp(word, "irq"))
			wish->interrupt = true;
		else
			ret = parse_property(word, wish);
		if (ret)
			return ret;
	}
	return 0;
}
