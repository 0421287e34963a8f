// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmasafe_prove: boards with one SPI chip each, for upstream's client drivers.
 * /sys/kernel/debug/dmasafe_prove has the files new, delete, answer, interrupt, suspend, use
 * and chains.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "lines.h"
#include "prove.h"

static struct dentry *directory;

static int make(char *line)
{
	struct wish *wish = kmalloc(sizeof(*wish), GFP_KERNEL);
	int ret;

	if (!wish)
		return -ENOMEM;
	ret = parse_wish(line, wish);
	ret = ret ?: board_new(wish);
	kfree(wish);
	return ret;
}

static int numbered(char *line, int (*act)(unsigned int number))
{
	unsigned int number;
	int ret = kstrtouint(strim(line), 0, &number);

	return ret ?: act(number);
}

static int remove(char *line)
{
	return numbered(line, board_delete);
}

static int interrupt(char *line)
{
	return numbered(line, board_interrupt);
}

static int suspend(char *line)
{
	return numbered(line, board_suspend);
}

static int use_number(unsigned int number)
{
	struct board *board = board_find(number);

	return board && board->spi ? consumer_use(board) : -ENOENT;
}

static int use(char *line)
{
	return numbered(line, use_number);
}

static int answer(char *line)
{
	unsigned int number;
	struct chip chip;
	int ret = parse_answer(line, &number, &chip);

	return ret ?: board_answer(number, &chip);
}

static const struct file_operations perform_fops = {
	.owner = THIS_MODULE,
	.write = perform_line,
};

static int __init prove_init(void)
{
	int ret = board_init();

	if (ret)
		return ret;
	directory = debugfs_create_dir("dmasafe_prove", NULL);
	ret = chains_init(directory);
	if (ret) {
		debugfs_remove(directory);
		board_exit();
		return ret;
	}
	debugfs_create_file("new", 0200, directory, make, &perform_fops);
	debugfs_create_file("delete", 0200, directory, remove, &perform_fops);
	debugfs_create_file("answer", 0200, directory, answer, &perform_fops);
	debugfs_create_file("interrupt", 0200, directory, interrupt, &perform_fops);
	debugfs_create_file("suspend", 0200, directory, suspend, &perform_fops);
	debugfs_create_file("use", 0200, directory, use, &perform_fops);
	return 0;
}

static void __exit prove_exit(void)
{
	debugfs_remove(directory);
	board_exit();
	chains_exit();
}

module_init(prove_init);
module_exit(prove_exit);
MODULE_DESCRIPTION("Boards with an SPI chip that answers by a rule, for upstream's client drivers");
MODULE_LICENSE("GPL");
