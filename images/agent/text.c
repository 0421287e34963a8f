// SPDX-License-Identifier: GPL-2.0-or-later
/* Strings that grow. Without memory there is no agent: it exits. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

static const char hex_digits[] = "0123456789abcdef";

void text_clear(struct text *text)
{
	text->len = 0;
}

void text_reserve(struct text *text, size_t more)
{
	if (text->room - text->len > more)
		return;
	text->room = 2 * (text->len + more) + 256;
	text->data = realloc(text->data, text->room);
	if (!text->data) {
		fputs("agent: no memory\n", stderr);
		exit(1);
	}
}

void text_add_bytes(struct text *text, const void *bytes, size_t len)
{
	if (!len)
		return;
	text_reserve(text, len);
	memcpy(text->data + text->len, bytes, len);
	text->len += len;
}

void text_add(struct text *text, const char *format, ...)
{
	va_list args;
	int len;

	text_reserve(text, 512);
	va_start(args, format);
	len = vsnprintf(text->data + text->len, text->room - text->len, format, args);
	va_end(args);
	if ((size_t)len >= text->room - text->len) {
		text_reserve(text, len);
		va_start(args, format);
		vsnprintf(text->data + text->len, text->room - text->len, format, args);
		va_end(args);
	}
	text->len += len;
}

void text_add_hex(struct text *text, const uint8_t *bytes, size_t len)
{
	char *to;
	size_t i;

	text_reserve(text, 2 * len);
	to = text->data + text->len;
	for (i = 0; i < len; i++) {
		*to++ = hex_digits[bytes[i] >> 4];
		*to++ = hex_digits[bytes[i] & 15];
	}
	text->len += 2 * len;
}

void text_add_json(struct text *text, const char *bytes, size_t len)
{
	char *to;
	size_t i;

	text_reserve(text, 6 * len);
	to = text->data + text->len;
	for (i = 0; i < len; i++) {
		unsigned char byte = bytes[i];

		if (byte == '"' || byte == '\\') {
			*to++ = '\\';
			*to++ = byte;
		} else if (byte == '\n') {
			*to++ = '\\';
			*to++ = 'n';
		} else if (byte < 0x20 || byte >= 0x7f) {
			memcpy(to, "\\u00", 4);
			to[4] = hex_digits[byte >> 4];
			to[5] = hex_digits[byte & 15];
			to += 6;
		} else {
			*to++ = byte;
		}
	}
	text->len = to - text->data;
}
