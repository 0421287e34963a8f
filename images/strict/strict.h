/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmasafe_strict: DMA operations that keep what the DMA API promises, and nothing beyond it.
 *
 * main attaches them to devices; ops are the operations. Each mapping gets bus addresses of its
 * own from table, which tells the emulated hardware what is mapped at this moment, and hears
 * from it what it refused. view keeps the CPU's and the device's view of memory apart, in whole
 * cache lines. memory says what may be mapped at all, watch looks out for memory that is freed,
 * report words what was found.
 */
#ifndef DMASAFE_STRICT_H
#define DMASAFE_STRICT_H

#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include "strict_calls.h"

#define STRICT_FRAMES 12
#define STRICT_LINE_MIN 16
#define STRICT_LINE_MAX 256
/* Bytes around a mapping that the device must leave alone. */
#define STRICT_REDZONE 64

enum strict_kind {
	STRICT_SINGLE,
	STRICT_SG,
	STRICT_COHERENT,
};

enum strict_state {
	STRICT_FREE,
	STRICT_LIVE,
	STRICT_DEAD,
};

/**
 * struct strict_stack - who did something
 * @count: frames
 * @frames: return addresses, innermost first
 */
struct strict_stack {
	unsigned int count;
	unsigned long frames[STRICT_FRAMES];
};

/**
 * struct strict_edge - bytes beside a mapping, on its first or its last cache line
 * @phys: where they are
 * @size: how many
 * @memory: what memory holds of them; the CPU's cache may know better, until the line goes
 */
struct strict_edge {
	phys_addr_t phys;
	unsigned int size;
	u8 memory[STRICT_LINE_MAX];
};

/**
 * struct strict_mapping - a mapping, from dma_map_*() until its addresses are handed out again
 * @node: in the list of live ones, or of those unmapped since the device was last asked
 * @state: live, or dead and in quarantine
 * @id: its number, never that of another
 * @dev: for whom it was made, NULL once the driver has left it
 * @owner: that device's name, for when it is gone
 * @kind: by which functions
 * @dir: direction
 * @attrs: attributes
 * @phys: the driver's memory; of coherent memory the device's own
 * @size: bytes
 * @dma: bus address
 * @page: first page of the table, @pages of them
 * @pages: for the device's memory, then a copy of what the CPU's view was
 * @freed: the memory is no longer the driver's
 * @head: bytes before it on its first line
 * @tail: bytes after it on its last line
 * @mapped: who mapped it
 * @unmapped: who unmapped it
 */
struct strict_mapping {
	struct list_head node;
	enum strict_state state;
	u32 id;
	struct device *dev;
	char owner[32];
	enum strict_kind kind;
	enum dma_data_direction dir;
	unsigned long attrs;
	phys_addr_t phys;
	size_t size;
	dma_addr_t dma;
	unsigned int page;
	unsigned int pages;
	bool freed;
	struct strict_edge head;
	struct strict_edge tail;
	struct strict_stack mapped;
	struct strict_stack unmapped;
};

extern raw_spinlock_t strict_lock;
extern struct list_head strict_live;
extern struct list_head strict_dead;
extern unsigned int strict_line;

/* strict_main.c */
bool strict_is_attached(struct device *dev);

/* strict_ops.c */
extern const struct dma_map_ops strict_ops;
void strict_leave(struct device *dev);

/* strict_table.c */
extern unsigned int strict_full;
extern unsigned int strict_unread;
int strict_table_init(void);
void strict_table_exit(void);
struct strict_mapping *strict_table_take(size_t offset, size_t size);
void strict_table_open(struct strict_mapping *mapping);
void strict_table_close(struct strict_mapping *mapping);
struct strict_mapping *strict_table_find(dma_addr_t dma);
bool strict_table_owns(phys_addr_t phys);
u8 *strict_table_shadow(const struct strict_mapping *mapping);
u8 *strict_table_copy(const struct strict_mapping *mapping);
void strict_table_check(struct strict_mapping *mapping);
void strict_table_disown(const struct device *dev);

/* strict_view.c */
void strict_view_begin(struct strict_mapping *mapping, bool synced);
void strict_view_for_cpu(struct strict_mapping *mapping, size_t offset, size_t size);
void strict_view_for_device(struct strict_mapping *mapping, size_t offset, size_t size);
void strict_view_end(struct strict_mapping *mapping);

/* strict_memory.c */
const char *strict_memory_forbidden(phys_addr_t phys, size_t size);
void strict_memory_object(phys_addr_t phys, phys_addr_t *start, phys_addr_t *end);

/* strict_watch.c */
int strict_watch_init(void);
void strict_watch_exit(void);
void strict_watch_add(const struct strict_mapping *mapping);
void strict_watch_remove(const struct strict_mapping *mapping);

/* strict_report.c */
void strict_stack_save(struct strict_stack *stack);
__printf(4, 5)
void strict_find(struct device *dev, const struct strict_mapping *mapping, const void *memory,
		 const char *format, ...);
void strict_report(void);
void strict_report_wait(void);
const char *strict_direction(enum dma_data_direction dir);

#endif
