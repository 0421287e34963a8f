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
	text->data[text->len] = '\0';
}

void text_add_string(struct text *text, const char *string)
{
	text_add_bytes(text, string, strlen(string));
}

void text_add_number(struct text *text, long long number)
{
	/* printf() costs the guest as much as the rest of a scenario's reply. */
	unsigned long long left = number < 0 ? -(unsigned long long)number : (unsigned long long)number;
	char digits[24];
	char *start = digits + sizeof(digits);

	do {
		*--start = '0' + left % 10;
		left /= 10;
	} while (left);
	if (number < 0)
		*--start = '-';
	text_add_bytes(text, start, digits + sizeof(digits) - start);
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

#define EACH(byte) (0x0101010101010101ULL * (byte))
#define HIGH EACH(0x80)

/* The high bit of a byte that is zero, if none is above 0x7f; of others too, but never of too few. */
static uint64_t zeros(uint64_t eight)
{
	return (eight - EACH(1)) & HIGH;
}

/* Whether none of eight bytes needs an escape. May say no where it could say yes. */
static bool are_plain(const char *bytes)
{
	uint64_t eight;

	memcpy(&eight, bytes, sizeof(eight));
	return !(((eight | (eight + EACH(1)) | (eight - EACH(0x20))) & HIGH) |
		 zeros(eight ^ EACH('"')) | zeros(eight ^ EACH('\\')));
}

void text_add_json(struct text *text, const char *bytes, size_t len)
{
	char *to;
	size_t i;

	text_reserve(text, 6 * len);
	to = text->data + text->len;
	for (i = 0; i < len; i++) {
		unsigned char byte;

		/* A log's records are plain text: the guest's kernel writes a megabyte of them in a run. */
		while (len - i >= 8 && are_plain(bytes + i)) {
			memcpy(to, bytes + i, 8);
			to += 8;
			i += 8;
		}
		if (i == len)
			break;
		byte = bytes[i];
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
