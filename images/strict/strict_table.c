// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bus addresses, each the physical address of memory that only the device uses; and the table of
 * what is mapped there. Emulated hardware of the harness's own reads it (docs/strict.md, "The
 * table"), refuses what is not mapped at that moment, and leaves a note. For any other device
 * there are red zones around a mapping, and a pattern in its place once it is unmapped.
 *
 * Addresses are handed out in turn, so that each is used again as late as possible.
 */
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include "compat.h"
#include "strict.h"

/* Pages that are physically contiguous: 4 MiB. */
#define CHUNK_ORDER 10
#define CHUNK_PAGES 1024
#define CHUNKS 16
#define REFUSALS 32

#define REDZONE_BYTE 0xbb
#define DEAD_BYTE 0xd5

#define ENTRY_LIVE BIT(0)
#define ENTRY_DEVICE_READS BIT(1)
#define ENTRY_DEVICE_WRITES BIT(2)

/* Why hardware refused. */
#define REFUSED_DIRECTION 2
#define REFUSED_BEYOND 1
#define REFUSED_UNMAPPED 0
#define NOT_REFUSED 0xff

/* A page's entry: the mapping that it belongs to. Little-endian, as all that hardware reads. */
struct entry {
	__le64 dma;
	__le64 phys;
	__le32 size;
	__le32 flags;
	__le32 id;
	__le32 reserved;
};

struct refusal {
	__le64 dma;
	__le32 size;
	__le32 id;
	u8 write;
	u8 why;
	u8 reserved[6];
	char device[16];
};

/* The page that hardware is told of. */
struct header {
	char magic[8];
	__le32 pages;
	__le32 chunk_pages;
	__le64 entries;
	__le64 chunks[CHUNKS];
	/* Refusals that hardware has noted, and those that were read. */
	__le32 noted;
	__le32 read;
	struct refusal refusals[REFUSALS];
};

static unsigned int pages = 4 * CHUNK_PAGES;
module_param(pages, uint, 0444);
MODULE_PARM_DESC(pages, "pages of bus addresses, a multiple of 1024");

unsigned int strict_full;
module_param_named(full, strict_full, uint, 0444);
MODULE_PARM_DESC(full, "mappings that failed because no address was left");

unsigned int strict_unread;
module_param_named(unread, strict_unread, uint, 0444);
MODULE_PARM_DESC(unread, "refusals of the hardware's, and reports, that were lost");

static struct header *header;
static struct entry *entries;
static struct page *chunks[CHUNKS];
/* By the first page of each. */
static struct strict_mapping *mappings;
/* By page: one more than the first page of the mapping that has it, or 0. */
static u32 *owners;
static unsigned int cursor, live_pages;
static u32 last_id;

static int table_get(char *text, const struct kernel_param *param)
{
	return scnprintf(text, PAGE_SIZE, "0x%llx\n", (unsigned long long)virt_to_phys(header));
}

static const struct kernel_param_ops table_ops = {
	.get = table_get,
};
module_param_cb(table, &table_ops, NULL, 0444);
MODULE_PARM_DESC(table, "physical address of the page that tells hardware what is mapped");

static u8 *page_start(unsigned int page)
{
	return (u8 *)page_address(chunks[page / CHUNK_PAGES]) + (page % CHUNK_PAGES) * PAGE_SIZE;
}

static unsigned int shadow_pages(size_t offset, size_t size)
{
	return DIV_ROUND_UP(offset + size + STRICT_REDZONE, PAGE_SIZE);
}

/**
 * strict_table_shadow() - the memory that the device uses
 * @mapping: the mapping
 */
u8 *strict_table_shadow(const struct strict_mapping *mapping)
{
	return page_start(mapping->page) + offset_in_page(mapping->dma);
}

/**
 * strict_table_copy() - what the CPU's view was when it and the device's were the same
 * @mapping: the mapping
 */
u8 *strict_table_copy(const struct strict_mapping *mapping)
{
	const size_t offset = offset_in_page(mapping->dma);

	return page_start(mapping->page + shadow_pages(offset, mapping->size)) + offset;
}

/* The page of an address, or -1. */
static int page_of(phys_addr_t phys)
{
	unsigned int i;

	for (i = 0; i < pages / CHUNK_PAGES; i++) {
		const phys_addr_t start = page_to_phys(chunks[i]);

		if (phys >= start && phys - start < CHUNK_PAGES * PAGE_SIZE)
			return i * CHUNK_PAGES + (phys - start) / PAGE_SIZE;
	}
	return -1;
}

/**
 * strict_table_owns() - whether memory is the table's own: a device's memory
 * @phys: its address
 */
bool strict_table_owns(phys_addr_t phys)
{
	return page_of(phys) >= 0;
}

/**
 * strict_table_find() - the mapping at an address
 * @dma: the address
 *
 * Return: the mapping, live or dead, that has the address's page; NULL if none has.
 */
struct strict_mapping *strict_table_find(dma_addr_t dma)
{
	const int page = page_of(dma);

	return page < 0 || !owners[page] ? NULL : &mappings[owners[page] - 1];
}

static size_t red_before(const struct strict_mapping *mapping)
{
	return min_t(size_t, STRICT_REDZONE, offset_in_page(mapping->dma));
}

static bool is_all(const u8 *start, u8 byte, size_t size)
{
	return !memchr_inv(start, byte, size);
}

static void check_dead(struct strict_mapping *mapping)
{
	const size_t before = red_before(mapping);
	u8 *start = strict_table_shadow(mapping) - before;
	const size_t size = before + mapping->size + STRICT_REDZONE;

	if (is_all(start, DEAD_BYTE, size))
		return;
	strict_find(NULL, mapping, NULL,
		    "device wrote to memory that is not mapped to it [device address=0x%016llx] [size=%zu bytes]",
		    (u64)mapping->dma, mapping->size);
	memset(start, DEAD_BYTE, size);
}

static void check_live(struct strict_mapping *mapping)
{
	const size_t before = red_before(mapping);
	u8 *shadow = strict_table_shadow(mapping);

	if (!is_all(shadow - before, REDZONE_BYTE, before) ||
	    !is_all(shadow + mapping->size, REDZONE_BYTE, STRICT_REDZONE))
		strict_find(mapping->dev, mapping, NULL,
			    "device wrote beyond its mapping [device address=0x%016llx] [size=%zu bytes] [map size=%zu bytes]",
			    (u64)mapping->dma, mapping->size, mapping->size);
	if (mapping->dir == DMA_TO_DEVICE &&
	    memcmp(shadow, strict_table_copy(mapping), mapping->size))
		strict_find(mapping->dev, mapping, NULL,
			    "device wrote against the direction of its mapping [device address=0x%016llx] [size=%zu bytes] [mapped with %s]",
			    (u64)mapping->dma, mapping->size, strict_direction(mapping->dir));
}

/**
 * strict_table_check() - look for what a device did that cannot refuse
 * @mapping: the mapping, live or dead
 */
void strict_table_check(struct strict_mapping *mapping)
{
	if (mapping->state == STRICT_DEAD)
		check_dead(mapping);
	else
		check_live(mapping);
}

static void forget(struct strict_mapping *mapping)
{
	unsigned int i;

	check_dead(mapping);
	list_del_init(&mapping->node);
	for (i = 0; i < mapping->pages; i++)
		owners[mapping->page + i] = 0;
	mapping->state = STRICT_FREE;
}

/* The next pages in turn that are not mapped, in one chunk. */
static int find_pages(unsigned int count)
{
	unsigned int tried, run = 0;

	for (tried = 0; tried < pages + count; tried++) {
		const u32 owner = owners[cursor];

		if (cursor % CHUNK_PAGES == 0)
			run = 0;
		run = owner && mappings[owner - 1].state == STRICT_LIVE ? 0 : run + 1;
		cursor = (cursor + 1) % pages;
		if (run == count)
			return (cursor + pages - count) % pages;
	}
	return -1;
}

/**
 * strict_table_take() - get bus addresses for a mapping
 * @offset: of the first byte in its page, which is kept
 * @size: bytes
 *
 * Return: the mapping, with its addresses alone filled in; NULL if none are left.
 */
struct strict_mapping *strict_table_take(size_t offset, size_t size)
{
	struct strict_mapping *mapping;
	unsigned int count, i;
	int page;

	if (size > CHUNK_PAGES * PAGE_SIZE / 4)
		return NULL;
	count = shadow_pages(offset, size) + DIV_ROUND_UP(offset + size, PAGE_SIZE);
	page = live_pages + count > pages ? -1 : find_pages(count);
	if (page < 0)
		return NULL;
	for (i = 0; i < count; i++)
		if (owners[page + i])
			forget(&mappings[owners[page + i] - 1]);
	mapping = &mappings[page];
	memset(mapping, 0, offsetof(struct strict_mapping, head));
	mapping->unmapped.count = 0;
	INIT_LIST_HEAD(&mapping->node);
	mapping->id = ++last_id;
	mapping->page = page;
	mapping->pages = count;
	mapping->size = size;
	mapping->dma = virt_to_phys(page_start(page)) + offset;
	for (i = 0; i < count; i++)
		owners[page + i] = page + 1;
	return mapping;
}

static u32 entry_flags(const struct strict_mapping *mapping)
{
	u32 flags = ENTRY_LIVE;

	if (mapping->dir != DMA_FROM_DEVICE)
		flags |= ENTRY_DEVICE_READS;
	if (mapping->dir != DMA_TO_DEVICE)
		flags |= ENTRY_DEVICE_WRITES;
	return flags;
}

/**
 * strict_table_open() - let the device use a mapping
 * @mapping: the mapping, all filled in
 */
void strict_table_open(struct strict_mapping *mapping)
{
	u8 *shadow = strict_table_shadow(mapping);
	unsigned int i;

	memset(shadow - red_before(mapping), REDZONE_BYTE, red_before(mapping));
	memset(shadow + mapping->size, REDZONE_BYTE, STRICT_REDZONE);
	mapping->state = STRICT_LIVE;
	live_pages += mapping->pages;
	list_add_tail(&mapping->node, &strict_live);
	for (i = mapping->page; i < mapping->page + mapping->pages; i++) {
		entries[i].dma = cpu_to_le64(mapping->dma);
		entries[i].phys = cpu_to_le64(mapping->phys);
		entries[i].size = cpu_to_le32(mapping->size);
		entries[i].id = cpu_to_le32(mapping->id);
		/* Hardware that finds it live finds all of it: pairs with the ring's own order. */
		smp_store_release(&entries[i].flags, cpu_to_le32(entry_flags(mapping)));
	}
}

/**
 * strict_table_close() - the device must no longer use a mapping
 * @mapping: the mapping, which dies
 */
void strict_table_close(struct strict_mapping *mapping)
{
	const size_t before = red_before(mapping);
	unsigned int i;

	for (i = mapping->page; i < mapping->page + mapping->pages; i++)
		WRITE_ONCE(entries[i].flags, 0);
	check_live(mapping);
	memset(strict_table_shadow(mapping) - before, DEAD_BYTE,
	       before + mapping->size + STRICT_REDZONE);
	mapping->state = STRICT_DEAD;
	live_pages -= mapping->pages;
	list_move_tail(&mapping->node, &strict_dead);
}

/**
 * strict_table_disown() - a device may be freed from now on: forget where it is
 * @dev: the device
 */
void strict_table_disown(const struct device *dev)
{
	unsigned int i;

	/* The dead ones, too: a refusal may still name one. */
	for (i = 0; i < pages; i++)
		if (mappings[i].dev == dev)
			mappings[i].dev = NULL;
}

static void find_refusal(const struct refusal *refusal)
{
	const bool wrote = refusal->write;
	const u64 dma = le64_to_cpu(refusal->dma);
	const u32 size = le32_to_cpu(refusal->size);
	struct strict_mapping *mapping = strict_table_find(dma);
	struct strict_mapping stranger = {};

	if (!mapping || mapping->id != le32_to_cpu(refusal->id)) {
		mapping = &stranger;
		strscpy(stranger.owner, refusal->device, sizeof(refusal->device));
	}
	if (refusal->why == REFUSED_BEYOND)
		strict_find(mapping->dev, mapping, NULL,
			    "device %s beyond its mapping [device address=0x%016llx] [size=%u bytes] [map size=%zu bytes]",
			    wrote ? "wrote" : "read", dma, size, mapping->size);
	else if (refusal->why == REFUSED_DIRECTION)
		strict_find(mapping->dev, mapping, NULL,
			    "device %s against the direction of its mapping [device address=0x%016llx] [size=%u bytes] [mapped with %s]",
			    wrote ? "wrote" : "read", dma, size, strict_direction(mapping->dir));
	else
		strict_find(mapping->dev, mapping, NULL,
			    "device %s memory that is not mapped to it [device address=0x%016llx] [size=%u bytes]",
			    wrote ? "wrote to" : "read", dma, size);
}

/* A device that tries again is refused again: that is said once. */
static bool is_repeated(const struct refusal *refusal, const struct refusal *before)
{
	return refusal->dma == before->dma && refusal->write == before->write &&
	       refusal->why == before->why && refusal->id == before->id &&
	       !memcmp(refusal->device, before->device, sizeof(refusal->device));
}

/* Of hardware that the kernel plays itself, since the last settling. */
static struct refusal last_reach = { .why = NOT_REFUSED };

static u8 why_not(const struct strict_mapping *mapping, dma_addr_t dma, size_t size, bool write)
{
	if (!mapping || mapping->state != STRICT_LIVE || dma < mapping->dma ||
	    dma - mapping->dma >= mapping->size + STRICT_REDZONE)
		return REFUSED_UNMAPPED;
	if (dma - mapping->dma + size > mapping->size)
		return REFUSED_BEYOND;
	return mapping->dir == (write ? DMA_TO_DEVICE : DMA_FROM_DEVICE) ? REFUSED_DIRECTION :
									   NOT_REFUSED;
}

/**
 * dmasafe_strict_has() - whether a device's operations are the strict machine's
 * @dev: the device
 */
bool dmasafe_strict_has(struct device *dev)
{
	return strict_is_attached(dev);
}
EXPORT_SYMBOL_GPL(dmasafe_strict_has);

/**
 * dmasafe_strict_reach() - ask as emulated hardware asks the table
 * @dev: the device
 * @dma: bus address
 * @size: bytes
 * @write: whether it writes
 *
 * Return: where the driver's own memory is that is mapped there, or STRICT_REFUSED, which is
 * reported. To a device that is not attached all memory is open.
 */
phys_addr_t dmasafe_strict_reach(struct device *dev, dma_addr_t dma, size_t size, bool write)
{
	struct refusal refusal = { .dma = cpu_to_le64(dma), .size = cpu_to_le32(size), .write = write };
	phys_addr_t phys = STRICT_REFUSED;
	struct strict_mapping *mapping;
	unsigned long flags;

	if (!strict_is_attached(dev))
		return dma_to_phys(dev, dma);
	raw_spin_lock_irqsave(&strict_lock, flags);
	mapping = strict_table_find(dma);
	refusal.why = size ? why_not(mapping, dma, size, write) : NOT_REFUSED;
	if (refusal.why == NOT_REFUSED) {
		phys = mapping ? mapping->phys + (dma - mapping->dma) : dma;
	} else {
		refusal.id = cpu_to_le32(mapping ? mapping->id : 0);
		strscpy(refusal.device, dev_name(dev), sizeof(refusal.device));
		if (!is_repeated(&refusal, &last_reach))
			find_refusal(&refusal);
		last_reach = refusal;
	}
	raw_spin_unlock_irqrestore(&strict_lock, flags);
	strict_report();
	return phys;
}
EXPORT_SYMBOL_GPL(dmasafe_strict_reach);

static void read_refusals(void)
{
	/* Hardware counts a refusal after it has noted it. */
	u32 noted = le32_to_cpu(smp_load_acquire(&header->noted));
	u32 read = le32_to_cpu(header->read);
	/* Of no refusal: one at address 0 would repeat a cleared one. */
	struct refusal last = { .why = NOT_REFUSED };

	while (read != noted) {
		struct refusal refusal = header->refusals[read % REFUSALS];
		u32 newest;

		/* Meanwhile hardware may have gone round, and be about to note the next one there. */
		smp_rmb();
		newest = le32_to_cpu(READ_ONCE(header->noted));
		if (newest - read >= REFUSALS) {
			strict_unread += newest - read - (REFUSALS - 1);
			read = newest - (REFUSALS - 1);
			noted = newest;
			continue;
		}
		read++;
		refusal.device[sizeof(refusal.device) - 1] = '\0';
		if (!is_repeated(&refusal, &last))
			find_refusal(&refusal);
		last = refusal;
	}
	WRITE_ONCE(header->read, cpu_to_le32(read));
}

/**
 * dmasafe_strict_settle() - report what devices did since the last call that nobody saw yet
 *
 * When it returns, all that was found is in the log. May sleep.
 */
void dmasafe_strict_settle(void)
{
	struct strict_mapping *mapping, *next;
	unsigned long flags;

	raw_spin_lock_irqsave(&strict_lock, flags);
	last_reach.why = NOT_REFUSED;
	read_refusals();
	list_for_each_entry_safe(mapping, next, &strict_dead, node) {
		check_dead(mapping);
		list_del_init(&mapping->node);
	}
	raw_spin_unlock_irqrestore(&strict_lock, flags);
	strict_report();
	strict_report_wait();
}
EXPORT_SYMBOL_GPL(dmasafe_strict_settle);

/* After which no honest device has anything left to do. */
#define SETTLED_MS 150

static int settled_get(char *text, const struct kernel_param *param)
{
	msleep(SETTLED_MS);
	dmasafe_strict_settle();
	return scnprintf(text, PAGE_SIZE, "1\n");
}

static const struct kernel_param_ops settled_ops = {
	.get = settled_get,
};
module_param_cb(settled, &settled_ops, NULL, 0444);
MODULE_PARM_DESC(settled, "reading waits until devices must be still, and reports what they did");

static void write_header(void)
{
	unsigned int i;

	header->pages = cpu_to_le32(pages);
	header->chunk_pages = cpu_to_le32(CHUNK_PAGES);
	header->entries = cpu_to_le64(virt_to_phys(entries));
	for (i = 0; i < pages / CHUNK_PAGES; i++)
		header->chunks[i] = cpu_to_le64(page_to_phys(chunks[i]));
	memcpy(header->magic, "dmastrct", sizeof(header->magic));
}

/**
 * strict_table_init() - get all the memory that will be needed
 *
 * Return: 0 or a negative errno.
 */
int strict_table_init(void)
{
	/* Below 4 GiB: some devices reach no further. */
	const gfp_t gfp = GFP_KERNEL | GFP_DMA32 | __GFP_COMP | __GFP_ZERO;
	unsigned int i;

	BUILD_BUG_ON(sizeof(struct header) > PAGE_SIZE);
	BUILD_BUG_ON(CHUNK_PAGES != 1 << CHUNK_ORDER);
	if (!pages || pages % CHUNK_PAGES || pages > CHUNKS * CHUNK_PAGES)
		return -EINVAL;
	header = (struct header *)get_zeroed_page(GFP_KERNEL);
	entries = alloc_pages_exact(pages * sizeof(*entries), GFP_KERNEL | __GFP_ZERO);
	mappings = vzalloc(array_size(pages, sizeof(*mappings)));
	owners = vzalloc(array_size(pages, sizeof(*owners)));
	if (!header || !entries || !mappings || !owners)
		goto exit;
	for (i = 0; i < pages / CHUNK_PAGES; i++) {
		chunks[i] = alloc_pages(gfp, CHUNK_ORDER);
		if (!chunks[i])
			goto exit;
	}
	write_header();
	return 0;

exit:
	strict_table_exit();
	return -ENOMEM;
}

/**
 * strict_table_exit() - undo strict_table_init(); no device may be attached
 */
void strict_table_exit(void)
{
	unsigned int i;

	for (i = 0; i < CHUNKS; i++)
		if (chunks[i])
			__free_pages(chunks[i], CHUNK_ORDER);
	vfree(owners);
	vfree(mappings);
	if (entries)
		free_pages_exact(entries, pages * sizeof(*entries));
	if (header) {
		memset(header, 0, sizeof(*header));
		free_page((unsigned long)header);
	}
}
