// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A file on a flash, through a file system that the host has mounted: it is written and read
 * as by anybody, and between the two the page cache is emptied, so that the flash answers.
 *
 * The caller's buffer goes no further than the page cache. What is of interest is which memory
 * the file system hands to MTD, and what of it spi-nor hands to the controller: both are counted
 * and told to the log.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mtd/mtd.h>
#include <linux/mtd/partitions.h>
#include <linux/pagemap.h>
#include <linux/sched/task_stack.h>
#include <linux/vmalloc.h>
#include "buses.h"

enum {
	MEMORY_LINEAR,
	MEMORY_STACK,
	MEMORY_VMALLOC,
	MEMORY_OTHER,
	MEMORIES,
};

/* Buffers that were handed over since the log was last told. */
struct tally {
	const char *to;
	atomic_t count[MEMORIES];
};

static struct tally handed_to_mtd = { .to = "MTD" };
static struct tally handed_to_controller = { .to = "the controller" };

static void count_buffer(struct tally *tally, const void *buf)
{
	unsigned int memory = MEMORY_OTHER;

	if (object_is_on_stack(buf))
		memory = MEMORY_STACK;
	else if (is_vmalloc_addr(buf))
		memory = MEMORY_VMALLOC;
	else if (virt_addr_valid(buf))
		memory = MEMORY_LINEAR;
	atomic_inc(&tally->count[memory]);
}

static void tell_tally(const char *what, struct tally *tally)
{
	int counts[MEMORIES];
	unsigned int i;

	for (i = 0; i < MEMORIES; i++)
		counts[i] = atomic_xchg(&tally->count[i], 0);
	pr_info("dmasafe: %s: handed to %s: linear %d, stack %d, vmalloc %d, other %d\n", what,
		tally->to, counts[MEMORY_LINEAR], counts[MEMORY_STACK], counts[MEMORY_VMALLOC],
		counts[MEMORY_OTHER]);
}

static void tell(const char *what)
{
	tell_tally(what, &handed_to_mtd);
	tell_tally(what, &handed_to_controller);
}

/**
 * buses_files_count() - a controller was handed a buffer
 * @chip: any; only the flashes with file systems count
 * @buf: the buffer
 */
void buses_files_count(const struct buses_chip *chip, const void *buf)
{
	if (chip->with_files)
		count_buffer(&handed_to_controller, buf);
}

/* spi-nor's, the same for all flashes. */
static int (*nor_read)(struct mtd_info *mtd, loff_t from, size_t len, size_t *done, u_char *buf);
static int (*nor_write)(struct mtd_info *mtd, loff_t to, size_t len, size_t *done,
			const u_char *buf);

static int counted_read(struct mtd_info *mtd, loff_t from, size_t len, size_t *done, u_char *buf)
{
	count_buffer(&handed_to_mtd, buf);
	return nor_read(mtd, from, len, done, buf);
}

static int counted_write(struct mtd_info *mtd, loff_t to, size_t len, size_t *done,
			 const u_char *buf)
{
	count_buffer(&handed_to_mtd, buf);
	return nor_write(mtd, to, len, done, buf);
}

/**
 * buses_files_watch() - count the buffers that are handed to a flash's MTD device
 * @bus: whose flash with file systems there is by now
 *
 * Return: 0 or a negative errno.
 */
int buses_files_watch(struct buses_bus *bus)
{
	struct mtd_info *part, *mtd;
	char name[32];

	snprintf(name, sizeof(name), "%s-jffs2", bus->name);
	part = get_mtd_device_nm(name);
	if (IS_ERR(part))
		return PTR_ERR(part);
	mtd = mtd_get_master(part);
	nor_read = mtd->_read;
	nor_write = mtd->_write;
	mtd->_read = counted_read;
	mtd->_write = counted_write;
	put_mtd_device(part);
	bus->files.with_files = true;
	return 0;
}

static struct file *open_file(const struct buses_bus *bus, const char *fs)
{
	struct file *file;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/%s-%s/file", bus->name, fs);
	file = filp_open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	/* Unmounted, the directory is another file system's. */
	if (!IS_ERR(file) && strcmp(file_inode(file)->i_sb->s_type->name, fs)) {
		filp_close(file, NULL);
		return ERR_PTR(-ENODEV);
	}
	return file;
}

static int write_out(struct file *file, const u8 *buf, size_t len)
{
	loff_t pos = 0;
	ssize_t done = kernel_write(file, buf, len, &pos);
	int ret;

	if (done != len)
		return done < 0 ? done : -EIO;
	ret = vfs_fsync(file, 0);
	return ret ?: invalidate_inode_pages2(file->f_mapping);
}

static int read_in(struct file *file, u8 *buf, size_t len)
{
	loff_t pos = 0;
	ssize_t done = kernel_read(file, buf, len, &pos);

	return done == len ? 0 : done < 0 ? done : -EIO;
}

/* What the flash gave or holds stands in for what was seen on its bus, where it is packed. */
static int with_file(struct buses_bus *bus, struct scenario *s, const char *fs)
{
	struct file *file = open_file(bus, fs);
	int ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	/* Mounting, and what a file system does behind everybody's back. */
	tell("before");
	if (s->rd) {
		client_fill(s->scratch, s->len, s->fill);
		ret = write_out(file, s->scratch, s->len);
		ret = ret ?: read_in(file, s->buf, s->len);
	} else {
		ret = write_out(file, s->buf, s->len);
		ret = ret ?: read_in(file, s->scratch, s->len);
	}
	if (!ret)
		buses_record_payload(&bus->plain, s->rd, s->scratch, s->len, NULL, 0, 0);
	filp_close(file, NULL);
	tell(s->operation->name);
	return ret;
}

static int call_jffs2(struct buses_bus *bus, struct scenario *s)
{
	return with_file(bus, s, "jffs2");
}

static int call_ubifs(struct buses_bus *bus, struct scenario *s)
{
	return with_file(bus, s, "ubifs");
}

static const char *no_files(const struct buses_bus *bus)
{
	return bus->files.with_files ? NULL : "no file system on this bus";
}

const struct buses_operation buses_files_operations[] = {
	BUSES_OPERATION("jffs2_write", false, BUSES_ANY, no_files, buses_plain, call_jffs2),
	BUSES_OPERATION("jffs2_read", true, BUSES_ANY, no_files, buses_plain, call_jffs2),
	BUSES_OPERATION("ubifs_write", false, BUSES_ANY, no_files, buses_plain, call_ubifs),
	BUSES_OPERATION("ubifs_read", true, BUSES_ANY, no_files, buses_plain, call_ubifs),
	{}
};
