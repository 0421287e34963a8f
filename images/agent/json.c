// SPDX-License-Identifier: GPL-2.0-or-later
/* JSON in: the host's requests and the client module's lists. The tokens are jsmn's. */
#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

static int hex_value(const char *digits, int count)
{
	int value = 0;

	while (count--) {
		char c = *digits++;

		if (c >= '0' && c <= '9')
			value = value * 16 + c - '0';
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + c - 'A' + 10;
		else
			return -1;
	}
	return value;
}

/* Decodes the inside of a string in place, one byte a code point. Returns its length, or -1. */
static long decode(char *text, size_t len)
{
	const char *from = text, *end = text + len;
	char *to = text;

	while (from < end) {
		unsigned char c = *from++;
		int code;

		if (c == '\\') {
			static const char short_forms[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
			const char *form;

			c = *from++;
			if (c == 'u') {
				code = end - from >= 4 ? hex_value(from, 4) : -1;
				if (code < 0 || code > 0xff)
					return -1;
				from += 4;
				*to++ = code;
				continue;
			}
			for (form = short_forms; *form && (unsigned char)*form != c; form += 2)
				;
			if (!*form)
				return -1;
			*to++ = form[1];
		} else if (c < 0x80) {
			*to++ = c;
		} else if ((c & 0xfc) == 0xc0 && from < end && ((unsigned char)*from & 0xc0) == 0x80) {
			*to++ = (c & 3) << 6 | (*from++ & 0x3f);
		} else {
			return -1;
		}
	}
	return to - text;
}

const char *request_parse(struct request *request, char *line, size_t len)
{
	jsmntok_t tokens[2 * REQUEST_FIELDS + 1];
	jsmn_parser parser;
	int count, i;

	request->count = 0;
	jsmn_init(&parser);
	count = jsmn_parse(&parser, line, len, tokens, sizeof(tokens) / sizeof(tokens[0]));
	if (count == JSMN_ERROR_NOMEM)
		return "too many members";
	if (count < 1 || tokens[0].type != JSMN_OBJECT)
		return "not a JSON object";
	for (i = 1; i + 1 < count; i += 2) {
		struct field *field = &request->fields[request->count++];
		const jsmntok_t *name = &tokens[i], *value = &tokens[i + 1];
		long size;

		if (name->type != JSMN_STRING || name->size != 1)
			return "a member without a name";
		if (value->size || (value->type != JSMN_STRING && value->type != JSMN_PRIMITIVE))
			return "a member that is neither string nor number";
		line[name->end] = '\0';
		field->name = line + name->start;
		field->value = line + value->start;
		size = value->end - value->start;
		if (value->type == JSMN_STRING)
			size = decode(line + value->start, size);
		if (size < 0)
			return "a string with a code point above 255 or a bad escape";
		field->len = size;
		/* After a number stands ',' or '}', which jsmn has seen already. */
		line[value->start + size] = '\0';
	}
	return NULL;
}

const struct field *request_field(const struct request *request, const char *name)
{
	int i;

	for (i = 0; i < request->count; i++)
		if (request->fields[i].name[0] == name[0] && !strcmp(request->fields[i].name, name))
			return &request->fields[i];
	return NULL;
}

const char *request_text(const struct request *request, const char *name)
{
	const struct field *field = request_field(request, name);

	return field ? field->value : NULL;
}

long long request_number(const struct request *request, const char *name, long long otherwise)
{
	const struct field *field = request_field(request, name);

	return field ? strtoll(field->value, NULL, 0) : otherwise;
}

static bool token_is(const char *text, const jsmntok_t *token, const char *word)
{
	size_t len = token->end - token->start;

	return token->type == JSMN_STRING && len == strlen(word) && !memcmp(text + token->start, word, len);
}

size_t seen_parse(const char *answer, size_t len, struct seen_message *seen, size_t max)
{
	/* The module records 48 messages of four members at the most. */
	static jsmntok_t tokens[16 + 48 * 9];
	size_t found = 0;
	jsmn_parser parser;
	int count, i;

	jsmn_init(&parser);
	count = jsmn_parse(&parser, answer, len, tokens, sizeof(tokens) / sizeof(tokens[0]));
	for (i = 1; i < count; i++) {
		const jsmntok_t *value = &tokens[i + 1];

		if (tokens[i].type == JSMN_OBJECT) {
			if (found == max)
				break;
			seen[found++] = (struct seen_message){ .dma_safe = -1 };
		}
		if (!found || i + 1 >= count)
			continue;
		if (token_is(answer, &tokens[i], "dma_safe")) {
			seen[found - 1].dma_safe = answer[value->start] == '1';
		} else if (token_is(answer, &tokens[i], "pa")) {
			size_t size = value->end - value->start;

			if (size < sizeof(seen->pa))
				memcpy(seen[found - 1].pa, answer + value->start, size);
		}
	}
	return found;
}
