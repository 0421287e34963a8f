// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /sys/kernel/debug/dmasafe_audit/: "messages" gives the table as lines of JSON between a head
 * and an end, and forgets it all when written; "watch" is 1 while messages are watched. Reading
 * in pieces gives one picture only while nothing is watched.
 */
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/i2c.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include "audit.h"

#define AUDIT_FORMAT 1

/* Of one reader: too big for the stack. */
struct text_reader {
	struct audit_row row;
	struct audit_adapter adapter;
};

struct client_look {
	int nr;
	u16 address;
	bool ten;
	char name[AUDIT_NAME_TEXT];
	char driver[AUDIT_NAME_TEXT];
};

static const char *const text_points[] = {
	"i2c_write", "i2c_read", "i2c_result", "dma_map_page", "dma_map_phys", "dma_map_sg",
};

static struct dentry *text_directory;
static const char *text_check;

static void put_string(struct seq_file *file, const char *key, const char *text)
{
	seq_printf(file, ",\"%s\":\"", key);
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\' || c < 0x20 || c >= 0x7f)
			seq_printf(file, "\\u%04x", c);
		else
			seq_putc(file, c);
	}
	seq_putc(file, '"');
}

static void put_points(struct seq_file *file)
{
	const char *between = "";
	size_t i;

	seq_puts(file, ",\"points\":[");
	for (i = 0; i < ARRAY_SIZE(text_points); i++) {
		if (!watch_has(text_points[i]))
			continue;
		seq_printf(file, "%s\"%s\"", between, text_points[i]);
		between = ",";
	}
	seq_putc(file, ']');
}

static void put_head(struct seq_file *file)
{
	struct audit_counts counts;

	table_counts(&counts);
	seq_printf(file, "{\"audit\":%d,\"line\":%u,\"dma_alignment\":%d,\"watching\":%d",
		   AUDIT_FORMAT, memory_line(), dma_get_cache_alignment(), watch_on());
	seq_printf(file, ",\"callers\":%d,\"image\":%d,\"objects\":%d",
		   IS_ENABLED(CONFIG_STACKTRACE) && IS_ENABLED(CONFIG_KALLSYMS),
		   memory_knows_image(), memory_knows_objects());
	seq_printf(file, ",\"transfers\":%llu,\"failed\":%llu,\"messages\":%llu",
		   counts.transfers, counts.failed, counts.messages);
	seq_printf(file, ",\"lost\":%llu,\"unmapped\":%llu,\"rows\":%u,\"size\":%u",
		   counts.lost, counts.unmapped, table_used(), table_size());
	put_points(file);
	put_string(file, "check", text_check);
	seq_puts(file, "}\n");
}

static int look_at_client(struct device *dev, void *data)
{
	struct i2c_client *client = i2c_verify_client(dev);
	struct client_look *look = data;

	if (!client || client->adapter->nr != look->nr || client->addr != look->address ||
	    !!(client->flags & I2C_CLIENT_TEN) != look->ten)
		return 0;
	scnprintf(look->name, sizeof(look->name), "%s", client->name);
	scnprintf(look->driver, sizeof(look->driver), "%s", dev_driver_string(dev));
	return 1;
}

/* Who has the address now, which need not be who had it then. */
static void put_client(struct seq_file *file, const struct audit_row *row, int nr)
{
	struct client_look look = { .nr = nr, .address = row->key.address, .ten = row->key.ten };

	if (!i2c_for_each_dev(&look, look_at_client))
		return;
	put_string(file, "client", look.name);
	put_string(file, "client_driver", look.driver);
}

static void put_frames(struct seq_file *file, const struct audit_row *row)
{
	unsigned int i;

	seq_printf(file, ",\"caller\":%u", row->caller_frame);
	for (i = 0; i < row->frame_count; i++) {
		char key[] = "frame0";

		key[5] += i;
		put_string(file, key, row->frames[i]);
	}
}

static void put_row(struct seq_file *file, const struct audit_row *row,
		    const struct audit_adapter *adapter)
{
	seq_printf(file, "{\"adapter\":%d,\"address\":%u,\"ten\":%u,\"rd\":%u,\"dma_safe\":%u",
		   adapter->nr, row->key.address, row->key.ten, row->key.rd, row->key.dma_safe);
	seq_printf(file, ",\"recv_len\":%u,\"count\":%llu,\"min\":%u,\"max\":%u",
		   row->key.recv_len, row->count, row->min_len, row->max_len);
	seq_printf(file, ",\"mapped\":%llu,\"before\":%llu,\"after\":%llu,\"alignment\":%lu",
		   row->mapped, row->before, row->after, row->address_bits & -row->address_bits);
	seq_printf(file, ",\"object\":%zu,\"offset\":%zu", row->object, row->offset);
	put_string(file, "class", audit_class_names[row->key.class]);
	put_string(file, "adapter_name", adapter->name);
	put_string(file, "adapter_driver", adapter->driver);
	if (row->cache[0])
		put_string(file, "cache", row->cache);
	if (row->symbol[0])
		put_string(file, "symbol", row->symbol);
	put_string(file, "task", row->task);
	put_client(file, row, adapter->nr);
	put_frames(file, row);
	seq_puts(file, "}\n");
}

/* Position 0 is the head, rows follow, the end is behind the last of them. */
static void *text_start(struct seq_file *file, loff_t *pos)
{
	return *pos <= (loff_t)table_used() + 1 ? pos : NULL;
}

static void *text_next(struct seq_file *file, void *at, loff_t *pos)
{
	++*pos;
	return text_start(file, pos);
}

static void text_stop(struct seq_file *file, void *at)
{
}

static int text_show(struct seq_file *file, void *at)
{
	struct text_reader *reader = file->private;
	loff_t pos = *(loff_t *)at;

	if (!pos)
		put_head(file);
	else if (pos > table_used())
		seq_printf(file, "{\"end\":%u}\n", table_used());
	else if (table_row(pos - 1, &reader->row, &reader->adapter))
		put_row(file, &reader->row, &reader->adapter);
	return 0;
}

static const struct seq_operations text_operations = {
	.start = text_start,
	.next = text_next,
	.stop = text_stop,
	.show = text_show,
};

static int messages_open(struct inode *inode, struct file *file)
{
	return __seq_open_private(file, &text_operations, sizeof(struct text_reader)) ? 0 : -ENOMEM;
}

static ssize_t messages_write(struct file *file, const char __user *from, size_t count,
			      loff_t *pos)
{
	watch_reset();
	return count;
}

static const struct file_operations messages_operations = {
	.owner = THIS_MODULE,
	.open = messages_open,
	.read = seq_read,
	.write = messages_write,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

static ssize_t watch_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	const char *text = watch_on() ? "1\n" : "0\n";

	return simple_read_from_buffer(to, count, pos, text, 2);
}

static ssize_t watch_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	bool on;
	int ret = kstrtobool_from_user(from, count, &on);

	if (ret)
		return ret;
	watch_set(on);
	return count;
}

static const struct file_operations watch_operations = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = watch_read,
	.write = watch_write,
	.llseek = default_llseek,
};

/**
 * text_init() - make the files
 * @check: what check_classes() said; stays where it is
 */
void text_init(const char *check)
{
	text_check = check;
	text_directory = debugfs_create_dir("dmasafe_audit", NULL);
	debugfs_create_file("messages", 0600, text_directory, NULL, &messages_operations);
	debugfs_create_file("watch", 0600, text_directory, NULL, &watch_operations);
}

/**
 * text_exit() - remove the files; nobody reads or writes them when it returns
 */
void text_exit(void)
{
	debugfs_remove(text_directory);
}
