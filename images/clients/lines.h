/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines that are written to debugfs: words with blanks between them. images/prove has a link to
 * this file: one in images/common would change the key of every kernel's modules.
 */
#ifndef DMASAFE_LINES_H
#define DMASAFE_LINES_H

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

/* The first length of a line that is too long. */
#define LINE_SIZE 2048

/**
 * next_word() - take the next word off a line
 * @line: where the line goes on
 *
 * Return: the word, or NULL at the line's end
 */
static inline char *next_word(char **line)
{
	char *word;

	do {
		word = strsep(line, " \n\t");
	} while (word && !*word);
	return word;
}

/**
 * next_number() - take the next word off a line, which must be a number
 * @line: where the line goes on
 * @number: where it goes
 *
 * Return: 0, or -EINVAL or -ERANGE
 */
static inline int next_number(char **line, unsigned int *number)
{
	char *word = next_word(line);

	return word ? kstrtouint(word, 0, number) : -EINVAL;
}

/**
 * perform_line() - the write() of a file that takes a line
 * @file: a file in debugfs whose data is a function that takes the line apart
 * @from: where the line is
 * @count: its length
 * @at: where in the file, which does not matter
 *
 * Return: @count or a negative errno
 */
static inline ssize_t perform_line(struct file *file, const char __user *from, size_t count,
				   loff_t *at)
{
	int (*act)(char *line) = file_inode(file)->i_private;
	char *line;
	int ret;

	if (count >= LINE_SIZE)
		return -EINVAL;
	line = memdup_user_nul(from, count);
	if (IS_ERR(line))
		return PTR_ERR(line);
	ret = act(line);
	kfree(line);
	return ret ? ret : count;
}

#endif
