/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the audit share. A message's way: a tracepoint (audit_watch.c), its memory
 * (audit_memory.c), its caller (audit_caller.c), its row (audit_table.c), a line of text
 * (audit_text.c). What DMA is mapped meanwhile: audit_map.c.
 */
#ifndef DMASAFE_AUDIT_H
#define DMASAFE_AUDIT_H

#include <linux/i2c.h>
#include <linux/sched.h>
#include <linux/types.h>

struct seq_file;
struct tracepoint;

#define AUDIT_FRAMES 10
#define AUDIT_FRAME_TEXT 96
#define AUDIT_NAME_TEXT 48
#define AUDIT_ADAPTERS 32
#define AUDIT_NO_PHYS (~(phys_addr_t)0)
/* What audit_image[] holds: pairs of addresses, from the kernel's own symbols. */
#define AUDIT_IMAGE_RANGES 4

/* Keep audit_class_names[] in step. */
enum memory_class {
	MEMORY_UNKNOWN,
	MEMORY_NONE,
	MEMORY_SLAB,
	MEMORY_PAGES,
	MEMORY_RESERVED,
	MEMORY_STACK,
	MEMORY_OTHER_STACK,
	MEMORY_VMALLOC,
	MEMORY_PERCPU,
	MEMORY_KMAP,
	MEMORY_FIXMAP,
	MEMORY_MODULE,
	MEMORY_MODULE_TEXT,
	MEMORY_MODULE_RODATA,
	MEMORY_MODULE_DATA,
	MEMORY_IMAGE,
	MEMORY_TEXT,
	MEMORY_RODATA,
	MEMORY_DATA,
	MEMORY_USER,
	MEMORY_CLASSES
};

extern const char *const audit_class_names[MEMORY_CLASSES];

/**
 * struct memory - what there is to say of a buffer
 * @class: of its first byte
 * @object: bytes of the slab object that it lies in, 0 if that is not known
 * @offset: of the buffer in that object, or in its page
 * @cache: the slab cache's name, or NULL; only good until the object is freed
 * @before: the first cache line begins with other bytes of the same object or page
 * @after: the last cache line ends with such bytes
 */
struct memory {
	enum memory_class class;
	size_t object;
	size_t offset;
	const char *cache;
	bool before;
	bool after;
};

/* What makes two messages alike. No padding: it is hashed and compared as bytes. */
struct audit_key {
	unsigned long caller;
	u16 address;
	u8 adapter;
	u8 class;
	u8 rd;
	u8 dma_safe;
	u8 ten;
	u8 recv_len;
};

/**
 * struct caller - who sent a message
 * @count: of @frames
 * @key: index of the frame that the message is booked under
 * @frames: return addresses, from the first outside the I2C core on
 */
struct caller {
	unsigned int count;
	unsigned int key;
	unsigned long frames[AUDIT_FRAMES];
};

/* All messages with the same key. Numbers under the table's lock, text before ready. */
struct audit_row {
	struct audit_key key;
	bool ready;
	u64 count;
	u64 mapped;
	u64 before;
	u64 after;
	u16 min_len;
	u16 max_len;
	/* All addresses, or-ed: their common alignment is its lowest bit. */
	unsigned long address_bits;
	/* Of the first message. */
	size_t object;
	size_t offset;
	unsigned int frame_count;
	unsigned int caller_frame;
	char cache[AUDIT_NAME_TEXT];
	char symbol[AUDIT_FRAME_TEXT];
	char task[TASK_COMM_LEN];
	char frames[AUDIT_FRAMES][AUDIT_FRAME_TEXT];
};

struct audit_adapter {
	const struct i2c_adapter *adapter;
	int nr;
	char name[AUDIT_NAME_TEXT];
	char driver[AUDIT_NAME_TEXT];
};

/* What was seen, and what was missed. */
struct audit_counts {
	u64 transfers;
	u64 failed;
	u64 messages;
	/* Without a row, because the table or the list of adapters was full. */
	u64 lost;
	/* Transfers during which no mapping could be looked for. */
	u64 unmapped;
};

/**
 * struct watch_point - a tracepoint that the audit listens at
 * @name: of the tracepoint
 * @probe: what it is to call
 * @point: NULL as long as nobody has it
 * @module: whose it is, NULL for the kernel's own
 * @on: whether @probe is registered
 */
struct watch_point {
	const char *name;
	void *probe;
	struct tracepoint *point;
	struct module *module;
	bool on;
};

/* audit_main.c */
extern bool audit_object_sizes;

/* audit_memory.c */
extern unsigned long audit_image[2 * AUDIT_IMAGE_RANGES];
extern unsigned long audit_percpu[2];

void memory_init(void);
void memory_classify(const void *buf, size_t len, struct memory *memory);
phys_addr_t memory_phys(const void *buf, enum memory_class class);
unsigned int memory_line(void);
bool memory_knows_image(void);
bool memory_knows_objects(void);

/* audit_module.c */
int module_ranges_init(void);
void module_ranges_exit(void);
enum memory_class module_ranges_class(unsigned long address);

/* audit_caller.c */
void caller_find(struct caller *caller);
void caller_forget(void);

/* audit_table.c */
int table_init(unsigned int rows);
void table_exit(void);
void table_reset(void);
struct audit_row *table_book(const struct i2c_adapter *adapter, const struct i2c_msg *msg,
			     const struct memory *memory);
void table_mapped(struct audit_row *row);
void table_transfer(bool failed);
void table_unmapped(void);
void table_counts(struct audit_counts *counts);
unsigned int table_size(void);
unsigned int table_used(void);
bool table_row(unsigned int index, struct audit_row *row, struct audit_adapter *adapter);

/* audit_watch.c */
int watch_init(void);
void watch_exit(void);
void watch_set(bool on);
bool watch_on(void);
void watch_reset(void);
bool watch_has(const char *name);

/* audit_map.c */
extern struct watch_point map_points[];
extern const unsigned int map_point_count;

void map_begin(const struct i2c_adapter *adapter, const struct i2c_msg *msg, int num,
	       enum memory_class class, struct audit_row *row);
void map_end(const struct i2c_adapter *adapter);
void map_forget(void);

/* audit_check.c */
const char *check_classes(void);

/* audit_text.c */
void text_init(const char *check);
void text_exit(void);

#endif
