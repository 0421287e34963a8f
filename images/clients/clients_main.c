// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmasafe_clients: makes I2C clients for upstream drivers, as a device tree would: with properties
 * and an interrupt. /sys/kernel/debug/dmasafe_clients has the files new, delete and interrupt.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include "clients.h"
#include "lines.h"

static struct dentry *directory;

static int make(char *line)
{
	struct client_wish wish;
	int ret = parse_wish(line, &wish);

	return ret ? ret : device_new(&wish);
}

static int at_place(char *line, int (*act)(unsigned int bus, unsigned int address))
{
	unsigned int bus, address;
	int ret = parse_place(line, &bus, &address);

	return ret ? ret : act(bus, address);
}

static int remove(char *line)
{
	return at_place(line, device_delete);
}

static int interrupt(char *line)
{
	return at_place(line, device_interrupt);
}

static const struct file_operations perform_fops = {
	.owner = THIS_MODULE,
	.write = perform_line,
};

static int __init clients_init(void)
{
	int ret = device_init();

	if (ret)
		return ret;
	directory = debugfs_create_dir("dmasafe_clients", NULL);
	debugfs_create_file("new", 0200, directory, make, &perform_fops);
	debugfs_create_file("delete", 0200, directory, remove, &perform_fops);
	debugfs_create_file("interrupt", 0200, directory, interrupt, &perform_fops);
	return 0;
}

static void __exit clients_exit(void)
{
	debugfs_remove(directory);
	device_exit();
}

module_init(clients_init);
module_exit(clients_exit);
MODULE_DESCRIPTION("I2C clients for upstream drivers, with properties and interrupts");
MODULE_LICENSE("GPL");
