/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine: hardware made of software, for machines without the emulated controller. It follows
 * the driver's ring by DMA addresses alone, copies memory to memory, and carries an I2C bus.
 *
 * engine (ring, requests, groups) asks memory for what lies behind a DMA address, slaves for what
 * happens on the bus, and tells trace what it saw. It outlives its driver, as hardware does.
 */
#ifndef DMASAFE_CONTROLLER_ENGINE_H
#define DMASAFE_CONTROLLER_ENGINE_H

#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "controller.h"
#include "controller_ring.h"

struct iommu_domain;

/* The longest message, and so the longest that a seeded fault can make it. */
#define ENGINE_MAX_LEN 16384
#define ENGINE_MAX_SEGMENTS (RING_MAX - 2)
enum engine_range { ENGINE_RING, ENGINE_FIFO, ENGINE_MAPPING, ENGINE_RANGES };

struct engine_bus;

/**
 * struct engine_segment - a descriptor, as the trace tells it
 * @dma: DMA address
 * @phys: physical address behind its first byte, or @dma if there is none; on a strict machine
 *	that of the driver's own memory, which the engine does not touch
 * @len: bytes
 * @write: the engine writes there
 * @why: why it is stray, or NULL
 */
struct engine_segment {
	dma_addr_t dma;
	phys_addr_t phys;
	u32 len;
	bool write;
	const char *why;
};

/**
 * struct engine_message - one I2C message
 * @seq: the scenario, or -1
 * @address: 7 bits
 * @read: from the slave
 * @last: a stop follows
 * @len: bytes asked for
 * @wire_len: bytes that were on the wire
 * @data: these bytes; ENGINE_MAX_LEN
 * @why: why it failed, or NULL
 * @delay_ms: for so long a slave holds the clock
 * @segments: where the payload lies
 * @count: segments in @segments
 * @header: where the request's header lies
 * @status: where the request's status lies
 */
struct engine_message {
	long seq;
	u16 address;
	bool read;
	bool last;
	size_t len;
	size_t wire_len;
	u8 *data;
	const char *why;
	unsigned int delay_ms;
	struct engine_segment segments[ENGINE_MAX_SEGMENTS];
	unsigned int count;
	struct engine_segment header;
	struct engine_segment status;
};

/**
 * struct engine_memory - the way from DMA addresses to memory
 * @dev: the device whose addresses they are
 * @domain: the IOMMU's domain, or NULL for a fixed offset
 * @coherent: what the engine sees is what the CPU sees
 * @ranges: DMA addresses of the driver's own: coherent memory, and the mapping of the message
 *	under way
 * @buf: the buffer of the message under way, or NULL
 * @len: its bytes
 */
struct engine_memory {
	struct device *dev;
	struct iommu_domain *domain;
	bool coherent;
	struct {
		dma_addr_t dma;
		size_t len;
	} ranges[ENGINE_RANGES];
	const u8 *buf;
	size_t len;
};

/**
 * struct engine_trace - lines for whoever reads the device node
 * @lock: guards the rest
 * @lines: struct engine_line
 * @bytes: waiting in @lines
 * @dropped: lines for which there was no room
 * @seq: the scenario under way, or -1
 * @misc: the device node, named as the engine
 */
struct engine_trace {
	struct mutex lock;
	struct list_head lines;
	size_t bytes;
	unsigned int dropped;
	long seq;
	struct miscdevice misc;
};

/**
 * struct engine - the hardware
 * @ctl: whom to interrupt, NULL while there is no driver
 * @queue: runs @work
 * @work: carries out what is in the ring
 * @wake: a reset is asked for
 * @stopping: likewise
 * @queue_size: entries in the ring
 * @next: requests taken from the ring
 * @desc: where the driver has put the descriptors
 * @avail: likewise
 * @used: likewise
 * @group_failed: an earlier message of this transfer failed
 * @memory: what it can reach
 * @bus: what it drives
 * @trace: whom it tells
 * @message: the one under way
 */
struct engine {
	struct controller *ctl;
	struct workqueue_struct *queue;
	struct work_struct work;
	wait_queue_head_t wake;
	bool stopping;
	u16 queue_size;
	u16 next;
	dma_addr_t desc;
	dma_addr_t avail;
	dma_addr_t used;
	bool group_failed;
	struct engine_memory memory;
	struct engine_bus *bus;
	struct engine_trace trace;
	struct engine_message message;
};

/**
 * struct controller_platform - a controller whose hardware is the engine
 * @ctl: the controller
 * @engine: the engine
 */
struct controller_platform {
	struct controller ctl;
	struct engine *engine;
};

/* controller_engine.c */
extern const struct controller_hardware engine_hardware;
int engine_create(struct engine *engine, const char *name);
void engine_destroy(struct engine *engine);
int engine_attach(struct engine *engine, struct controller *ctl);
void engine_detach(struct engine *engine);

/* controller_engine_memory.c */
int engine_memory_attach(struct engine_memory *memory, struct controller *ctl);
void engine_memory_allow(struct engine_memory *memory, const struct payload *payload);
void engine_memory_reach(const struct engine_memory *memory, struct engine_segment *segment);
int engine_memory_read(const struct engine_memory *memory, dma_addr_t dma, void *to, size_t len);
int engine_memory_write(const struct engine_memory *memory, dma_addr_t dma, const void *from,
			size_t len);

/* controller_engine_trace.c */
int engine_trace_create(struct engine_trace *trace, const char *name);
void engine_trace_destroy(struct engine_trace *trace);
long engine_trace_seq(struct engine_trace *trace);
void engine_trace_message(struct engine_trace *trace, const struct engine_message *message);
void engine_trace_violation(struct engine_trace *trace, const char *what, const char *why);

/* controller_slaves.c */
struct engine_bus *engine_bus_create(void);
void engine_bus_destroy(struct engine_bus *bus);
void engine_bus_transfer(struct engine_bus *bus, struct engine_message *message);
void engine_bus_stop(struct engine_bus *bus);

#endif
