/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmasafe_controller: an I2C host controller whose driver treats message buffers as it is
 * told.
 *
 * main (attributes, the I2C algorithm) calls payload (one message: get, map, transfer, unmap,
 * put), which calls ring (descriptors), which tells the hardware: either pci (a PCI function of
 * QEMU's) or platform (a platform device whose hardware is engine: see controller_engine.h).
 * fault finds the wrong steps that can be seeded into payload; fault_* hold them, one row and
 * one or two small functions a mistake.
 */
#ifndef DMASAFE_CONTROLLER_H
#define DMASAFE_CONTROLLER_H

#include <linux/completion.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/i2c.h>
#include <linux/scatterlist.h>
#include "compat.h"

/* The longest message, and the size of the FIFO: what i2c-dev allows (I2C_RDWR). */
#define CONTROLLER_MAX_LEN 8192
/* I2C_M_RECV_LEN reads more than msg->len. */
#define CONTROLLER_FIFO_BYTES (CONTROLLER_MAX_LEN + I2C_SMBUS_BLOCK_MAX)

struct controller;
struct payload;

/*
 * The part of memory that only the controller and its driver use. Little-endian:
 * VIRTIO_F_VERSION_1.
 */
struct controller_ring;

/**
 * struct controller_hardware - what lies below the ring
 * @reset: stops the hardware: when it returns 0, no DMA follows
 * @start: brings hardware that was just reset to work on the ring, which is zeroed, and sets
 *	&controller.queue_size
 * @kick: tells the hardware that there is a request
 * @allow: tells hardware that could do harm whose memory it may touch for this message, NULL
 *	when the message is over; may be NULL
 */
struct controller_hardware {
	int (*reset)(struct controller *ctl);
	int (*start)(struct controller *ctl);
	void (*kick)(struct controller *ctl);
	void (*allow)(struct controller *ctl, const struct payload *payload);
};

/**
 * struct controller_steps - what is done to a message's buffer, step by step
 * @get: returns the buffer to hand to the hardware, or NULL for programmed I/O
 * @map: maps @payload->buf for the device and returns its DMA address
 * @map_failed: tells whether @map failed
 * @unmap: undoes @map
 * @put: gives the buffer back, after @unmap; copies read data to the message if @get
 *	bounced it
 *
 * A policy provides @get and @put, the rest is the same for all. A seeded fault overrides any
 * of them.
 */
struct controller_steps {
	u8 *(*get)(struct controller *ctl, struct payload *payload);
	dma_addr_t (*map)(struct controller *ctl, struct payload *payload);
	bool (*map_failed)(struct controller *ctl, struct payload *payload);
	void (*unmap)(struct controller *ctl, struct payload *payload);
	void (*put)(struct controller *ctl, struct payload *payload, bool transferred);
};

/**
 * struct controller_policy - how a driver treats a message buffer
 * @name: the word for the sysfs attribute
 * @get: see &struct controller_steps
 * @put: see &struct controller_steps
 */
struct controller_policy {
	const char *name;
	u8 *(*get)(struct controller *ctl, struct payload *payload);
	void (*put)(struct controller *ctl, struct payload *payload, bool transferred);
};

/**
 * struct controller_fault - a mistake that a driver could make
 * @name: the word for the sysfs attribute
 * @wrong: the steps that the mistake replaces; the others are NULL
 */
struct controller_fault {
	const char *name;
	struct controller_steps wrong;
};

/**
 * struct fault_spare - what a seeded fault keeps from one step to the next
 * @sg: a scatterlist
 * @memory: memory of its own
 * @dma: another mapping
 */
struct fault_spare {
	struct scatterlist sg[2];
	void *memory;
	dma_addr_t dma;
};

/**
 * struct payload - one message's buffer on its way to the hardware
 * @msg: the message
 * @policy: how its buffer is treated
 * @fault: the seeded fault
 * @len: bytes to transfer; more than @msg->len for I2C_M_RECV_LEN
 * @wire_len: bytes that the hardware is told; @len, but for a seeded fault
 * @dir: DMA direction
 * @buf: what @get returned
 * @dma: what @map returned
 * @ret: what the hardware made of it: 0 or a negative errno
 * @unmapped: a seeded fault undid @map before the transfer
 * @freed: a seeded fault freed @buf, and who has it now is not known
 * @spare: for the seeded fault
 */
struct payload {
	struct i2c_msg *msg;
	const struct controller_policy *policy;
	const struct controller_fault *fault;
	size_t len;
	size_t wire_len;
	enum dma_data_direction dir;
	u8 *buf;
	dma_addr_t dma;
	int ret;
	bool unmapped;
	bool freed;
	struct fault_spare spare;
};

/**
 * struct controller - one controller
 * @dev: the device that does DMA
 * @hardware: what lies below the ring
 * @adap: the I2C adapter
 * @policy: how message buffers are treated
 * @fault: the seeded fault
 * @threshold: shortest message in bytes that is worth DMA
 * @fifo: coherent memory for programmed I/O, CONTROLLER_FIFO_BYTES
 * @fifo_dma: its DMA address
 * @ring: coherent memory that holds descriptors and headers
 * @ring_dma: its DMA address
 * @queue_size: entries in the ring
 * @sent: requests handed to the device since its last reset
 * @group_open: the device was told that another message follows
 * @done: the device is done with a request
 * @mapped: a message's buffer is mapped
 */
struct controller {
	struct device *dev;
	const struct controller_hardware *hardware;
	struct i2c_adapter adap;

	const struct controller_policy *policy;
	const struct controller_fault *fault;
	unsigned int threshold;

	u8 *fifo;
	dma_addr_t fifo_dma;

	struct controller_ring *ring;
	dma_addr_t ring_dma;
	u16 queue_size;
	u16 sent;
	bool group_open;
	struct completion done;
	bool mapped;
};

/* controller_main.c */
int controller_prepare(struct controller *ctl, struct device *dev,
		       const struct controller_hardware *hardware, u64 mask);
int controller_add(struct controller *ctl);
void controller_del(struct controller *ctl);
void controller_suspend(struct controller *ctl);
int controller_resume(struct controller *ctl);

/* controller_payload.c */
extern const struct controller_policy controller_policies[];
int controller_transfer(struct controller *ctl, struct i2c_msg *msg, bool last);
dma_addr_t payload_map(struct controller *ctl, struct payload *payload);
bool payload_map_failed(struct controller *ctl, struct payload *payload);
void payload_unmap(struct controller *ctl, struct payload *payload);

/* controller_fault.c */
const struct controller_fault *controller_fault_find(const char *name);
void fault_no_unmap(struct controller *ctl, struct payload *payload);
u8 *fault_bounce(struct payload *payload, void *memory);
void fault_unbounce(struct payload *payload, bool transferred);

/* Each ends with an empty row. */
extern const struct controller_fault controller_faults_map[];
extern const struct controller_fault controller_faults_unmap[];
extern const struct controller_fault controller_faults_sync[];
extern const struct controller_fault controller_faults_sg[];
extern const struct controller_fault controller_faults_coherent[];
extern const struct controller_fault controller_faults_life[];
extern const struct controller_fault controller_faults_view[];

/* controller_fault_life.c */
void controller_fault_settle(struct controller *ctl);
void fault_leak(struct controller *ctl, struct payload *payload, void *coherent);

/* controller_ring.c */
int controller_ring_alloc(struct controller *ctl);
int controller_ring_start(struct controller *ctl);
void controller_ring_stop(struct controller *ctl);
void controller_ring_done(struct controller *ctl);
bool controller_ring_idle(struct controller *ctl);
void controller_ring_abort(struct controller *ctl);
int controller_ring_send(struct controller *ctl, const struct i2c_msg *msg, bool last,
			 dma_addr_t dma, size_t len);

/* controller_pci.c */
#ifdef CONFIG_PCI
int controller_pci_init(void);
void controller_pci_exit(void);
#else
static inline int controller_pci_init(void)
{
	return 0;
}

static inline void controller_pci_exit(void)
{
}
#endif

/* controller_platform.c */
int controller_platform_init(void);
void controller_platform_exit(void);

#endif
