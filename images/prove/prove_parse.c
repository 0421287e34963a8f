// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the lines that are written to debugfs say.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include "lines.h"
#include "prove.h"
#include "compat.h"

static int next_board(char **line, unsigned int *number)
{
	int ret = next_number(line, number);

	return ret ?: *number < BOARDS_MAX ? 0 : -ERANGE;
}

/* KIND:NAME[=VALUE] */
static int parse_word(char *text, struct word *word)
{
	char *value = strchr(text, '=');

	if (!strchr("gsutb", text[0]) || text[1] != ':')
		return -EINVAL;
	if (value)
		*value++ = '\0';
	word->kind = text[0];
	if (strscpy(word->name, text + 2, sizeof(word->name)) <= 0)
		return -EINVAL;
	if (word->kind == 't')
		return value && strscpy(word->text, value, sizeof(word->text)) > 0 ? 0 : -EINVAL;
	return value ? kstrtou32(value, 0, &word->value) : 0;
}

static int parse_bytes(const char *text, u8 *bytes, unsigned int *length, unsigned int max)
{
	*length = strlen(text) / 2;
	if (strlen(text) % 2 || *length > max)
		return -EINVAL;
	return hex2bin(bytes, text, *length);
}

/* WRITTEN=ANSWER */
static int parse_row(char *text, struct row *row)
{
	char *answer = strchr(text, '=');
	int ret;

	if (!answer)
		return -EINVAL;
	*answer++ = '\0';
	ret = parse_bytes(text, row->to, &row->to_length, ROW_SIZE);
	return ret ?: parse_bytes(answer, row->bytes, &row->length, ROW_SIZE);
}

/* echo, toggle, count, random, or bytes in hexadecimal: BYTES[,WRITTEN=ANSWER]... */
static int parse_rule(char *text, struct chip *chip)
{
	static const char *const names[] = {
		[ANSWER_ECHO] = "echo", [ANSWER_TOGGLE] = "toggle",
		[ANSWER_COUNT] = "count", [ANSWER_RANDOM] = "random",
	};
	unsigned int i;
	char *word;
	int ret;

	memset(chip, 0, sizeof(*chip));
	for (i = ANSWER_ECHO; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			chip->mode = i;
			return 0;
		}
	ret = parse_bytes(strsep(&text, ","), chip->bytes, &chip->length, ANSWER_MAX);
	while (!ret && (word = strsep(&text, ",")))
		ret = chip->count < ROWS_MAX ? parse_row(word, &chip->rows[chip->count++]) :
			-EINVAL;
	return ret;
}

/**
 * parse_wish() - read "NUMBER MODALIAS COMPATIBLE|- [irq] [pulse] [pdata] [hz:SPEED] [mode:MODE]
 * [a:RULE] [i2c:BUS:ADDRESS] [KIND:NAME[=VALUE]]..."
 * @line: what was written; it is taken apart
 * @wish: where it goes
 *
 * Return: 0, or -EINVAL or -ERANGE
 */
int parse_wish(char *line, struct wish *wish)
{
	char *word;
	int ret;

	memset(wish, 0, sizeof(*wish));
	wish->speed = SPEED_HZ;
	ret = next_board(&line, &wish->number);
	if (ret)
		return ret;
	word = next_word(&line);
	if (!word || strscpy(wish->modalias, word, sizeof(wish->modalias)) <= 0)
		return -EINVAL;
	word = next_word(&line);
	if (!word || strscpy(wish->compatible, word, sizeof(wish->compatible)) <= 0)
		return -EINVAL;
	if (!strcmp(wish->compatible, "-"))
		wish->compatible[0] = '\0';
	while ((word = next_word(&line))) {
		if (!strcmp(word, "irq"))
			wish->interrupt = true;
		else if (!strcmp(word, "pulse"))
			wish->pulse = true;
		else if (!strcmp(word, "pdata"))
			wish->platform_data = true;
		else if (strstarts(word, "hz:"))
			ret = kstrtouint(word + 3, 0, &wish->speed);
		else if (strstarts(word, "mode:"))
			ret = kstrtouint(word + 5, 0, &wish->mode);
		else if (strstarts(word, "a:"))
			ret = parse_rule(word + 2, &wish->chip);
		else if (strstarts(word, "i2c:"))
			ret = sscanf(word, "i2c:%u:%i", &wish->bus, &wish->address) == 2 ? 0 :
				-EINVAL;
		else if (wish->count == WORDS_MAX)
			return -EINVAL;
		else
			ret = parse_word(word, &wish->words[wish->count++]);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * parse_answer() - read "NUMBER RULE"
 * @line: what was written; it is taken apart
 * @number: where the board's number goes
 * @chip: where the rule goes
 *
 * Return: 0, or -EINVAL or -ERANGE
 */
int parse_answer(char *line, unsigned int *number, struct chip *chip)
{
	int ret = next_board(&line, number);
	char *word = next_word(&line);

	if (ret || !word)
		return ret ?: -EINVAL;
	return parse_rule(word, chip);
}
