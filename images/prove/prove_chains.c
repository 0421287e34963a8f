// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which call chains reached a controller, what memory their buffers were in, and in whose stack
 * frame. A chain that is new is mapped for DMA, so that dma-debug sees it; one that is known is
 * not: a driver that polls its chip would be reported thousands of times.
 */
#include <linux/debugfs.h>
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include "prove.h"

#define CHAINS_MAX 2048
#define FRAMES_MAX 32

/* A buffer: its memory's class, and a place in the code that owns it, or its own if it is a module's. */
struct memory {
	const char *class;
	unsigned long owner;
};

static struct chain {
	u32 hash;
	unsigned int board;
	unsigned int index;
	unsigned int count;
	struct memory tx;
	struct memory rx;
	unsigned int frames;
	unsigned long frame[FRAMES_MAX];
} *chains;

static unsigned int filled;
static unsigned int lost;
static DEFINE_SPINLOCK(chains_lock);

static struct memory memory_of(const void *buf)
{
	if (!buf)
		return (struct memory){ "-" };
	if (object_is_on_stack(buf))
		return (struct memory){ "stack" };
	if (is_vmalloc_addr(buf))
		return (struct memory){ "vmalloc" };
	if (is_vmalloc_or_module_addr(buf))
		return (struct memory){ "module", (unsigned long)buf };
	return (struct memory){ virt_addr_valid(buf) ? "linear" : "image" };
}

/* Frame by frame: between two frame pointers lies what the function in between has on its stack. */
static void walk(struct chain *chain, unsigned long tx, unsigned long rx)
{
	unsigned long *at = __builtin_frame_address(0);

	while (chain->frames < FRAMES_MAX && object_is_on_stack(at)) {
		unsigned long next = at[0], code = at[1];

		if (next <= (unsigned long)at || !object_is_on_stack((void *)next))
			break;
		chain->frame[chain->frames++] = code;
		if (tx > (unsigned long)at && tx < next)
			chain->tx.owner = code;
		if (rx > (unsigned long)at && rx < next)
			chain->rx.owner = code;
		at = (unsigned long *)next;
	}
}

/* As far as anybody asks: of a buffer's place only its class counts. */
static bool is_same(const struct chain *one, const struct chain *other)
{
	return one->hash == other->hash && one->board == other->board &&
	       one->index == other->index && one->frames == other->frames &&
	       one->tx.class == other->tx.class && one->rx.class == other->rx.class &&
	       !memcmp(one->frame, other->frame, one->frames * sizeof(one->frame[0]));
}

/**
 * chains_note() - a transfer has come to a controller
 * @xfer: the transfer
 * @board: the board's number
 * @index: which transfer of its message it is
 *
 * Return: whether its like was not seen before
 */
bool chains_note(const struct spi_transfer *xfer, unsigned int board, unsigned int index)
{
	struct chain new = {
		.board = board, .index = index, .count = 1,
		.tx = memory_of(xfer->tx_buf), .rx = memory_of(xfer->rx_buf),
	};
	unsigned int i;
	bool fresh;

	if (IS_ENABLED(CONFIG_FRAME_POINTER))
		walk(&new, (unsigned long)xfer->tx_buf, (unsigned long)xfer->rx_buf);
	new.hash = jhash(new.frame, new.frames * sizeof(new.frame[0]),
			 (board << 8) ^ index ^ (new.tx.class[0] << 16) ^ (new.rx.class[0] << 24));
	spin_lock(&chains_lock);
	for (i = 0; i < filled && !is_same(&chains[i], &new); i++)
		;
	fresh = i == filled && filled < CHAINS_MAX;
	if (i < filled)
		chains[i].count++;
	else if (fresh)
		chains[filled++] = new;
	else
		lost++;
	spin_unlock(&chains_lock);
	return fresh;
}

static void show_memory(struct seq_file *file, const struct memory *memory)
{
	seq_printf(file, "%s:", memory->class);
	if (memory->owner)
		seq_printf(file, "%pS", (void *)memory->owner);
}

/* Rows are only ever added while somebody reads; a reset is the reader's own. */
static int chains_show(struct seq_file *file, void *unused)
{
	unsigned int i, k, count = READ_ONCE(filled);

	for (i = 0; i < count; i++) {
		struct chain *chain = &chains[i];

		seq_printf(file, "%u\t%u\t%u\t", chain->board, chain->index, chain->count);
		show_memory(file, &chain->tx);
		seq_putc(file, '\t');
		show_memory(file, &chain->rx);
		for (k = 0; k < chain->frames; k++)
			seq_printf(file, "\t%pS", (void *)chain->frame[k]);
		seq_putc(file, '\n');
	}
	seq_printf(file, "end\t%u\t%u\n", count, lost);
	return 0;
}

static int chains_open(struct inode *inode, struct file *file)
{
	return single_open_size(file, chains_show, NULL, SZ_1M);
}

static ssize_t chains_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	spin_lock(&chains_lock);
	filled = 0;
	lost = 0;
	spin_unlock(&chains_lock);
	return count;
}

static const struct file_operations chains_fops = {
	.owner = THIS_MODULE,
	.open = chains_open,
	.read = seq_read,
	.write = chains_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/**
 * chains_init() - make the file "chains": reading lists them, writing forgets them
 * @directory: where
 *
 * Return: 0 or -ENOMEM
 */
int chains_init(struct dentry *directory)
{
	chains = vzalloc(array_size(CHAINS_MAX, sizeof(*chains)));
	if (!chains)
		return -ENOMEM;
	debugfs_create_file("chains", 0600, directory, NULL, &chains_fops);
	return 0;
}

/**
 * chains_exit() - give up the table; its file is gone already
 */
void chains_exit(void)
{
	vfree(chains);
}
