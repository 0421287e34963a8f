/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmasafe_buses: small controllers on other buses that have a regmap, or carry a file system,
 * and the calls that make the kernel's own code hand them buffers.
 *
 * main (names, one operation from begin to end) calls an operation (regmap, mtd, or the bus's
 * own API beside its controller); the kernel's subsystem calls the controller (i2c, spi,
 * spi_mem, spmi, slimbus, w1), which has dma move the bytes between memory and a chip
 * (registers, flash). record keeps what the chip saw.
 */
#ifndef DMASAFE_BUSES_H
#define DMASAFE_BUSES_H

#include <linux/device.h>
#include <linux/mutex.h>
#include <linux/regmap.h>
#include <linux/scatterlist.h>
#include <linux/types.h>
#include "client.h"

/* Where the payload starts in a chip with registers: what SPMI's shortest command can say. */
#define BUSES_REGISTER 0x08
/* Pieces that the payload of one scenario may come in. */
#define BUSES_SEGMENTS 64

struct buses_chip;

/**
 * struct buses_segment - one piece of memory, as the hardware reached it
 * @dma: the address that it was given
 * @at: where that leads
 * @phys: whose memory it is; @at, but for a strict machine's
 * @len: bytes
 * @why: why it was not touched, or NULL
 */
struct buses_segment {
	dma_addr_t dma;
	phys_addr_t at;
	phys_addr_t phys;
	size_t len;
	const char *why;
};

/**
 * struct buses_chip_type - what a chip does with the bytes on its bus
 * @begin: a message begins: selected, started or reset
 * @tx: takes bytes; returns how many of the first ones are not payload
 * @rx: gives bytes; likewise
 * @prepare: reads must give from now on the bytes of client_fill(), or what is there can
 *	be written over
 */
struct buses_chip_type {
	void (*begin)(struct buses_chip *chip);
	size_t (*tx)(struct buses_chip *chip, const u8 *data, size_t len);
	size_t (*rx)(struct buses_chip *chip, u8 *data, size_t len);
	void (*prepare)(struct buses_chip *chip, bool rd, size_t len, u32 fill);
};

/**
 * struct buses_chip - what a controller talks to
 * @type: its behaviour
 * @dev: does DMA for the controller
 * @memory: registers, or flash
 * @size: bytes of @memory, a power of two
 * @position: the next of them
 * @header: bytes at the start of a message that are not payload
 * @left: of these, those still to come
 * @with_files: a flash with file systems, whose buffers are counted
 * @flash: the state of buses_flash.c
 */
struct buses_chip {
	const struct buses_chip_type *type;
	struct device *dev;
	u8 *memory;
	size_t size;
	size_t position;
	size_t header;
	size_t left;
	bool with_files;
	struct {
		u8 command;
		u32 address;
		bool writable;
	} flash;
};

/* What a bus can do besides regmap: which member of &struct buses_bus is its device. */
enum buses_kind {
	BUSES_ANY,
	BUSES_I2C,
	BUSES_SPI,
	BUSES_SPMI,
	BUSES_SLIMBUS,
	BUSES_W1,
};

struct i2c_client;
struct mtd_info;
struct slim_device;
struct spi_device;
struct spmi_device;
struct w1_master;

/**
 * struct buses_bus - a controller with what is connected to it, one row each in buses_main.c
 * @name: the word of harness/dmasafe/scenario.py
 * @kind: which API there is
 * @start: makes controller and devices, sets all below; a negative errno if it cannot
 * @error: what @start returned
 * @dev: the controller's platform device
 * @registers: the chip behind @regmap
 * @plain: the chip that the bus's own API talks to, all of whose bytes are payload
 * @flash: the chip behind @mtd
 * @files: the chip on which file systems are mounted
 * @regmap: NULL if there is none
 * @mtd: likewise
 * @i2c: the device on an I2C bus
 * @spi: the device on an SPI bus, @plain
 * @spmi: the device on an SPMI bus
 * @slim: the device on a SLIMbus
 * @w1: the master of a 1-Wire bus
 */
struct buses_bus {
	const char *name;
	enum buses_kind kind;
	int (*start)(struct buses_bus *bus);
	int error;
	struct device *dev;
	struct buses_chip registers;
	struct buses_chip plain;
	struct buses_chip flash;
	struct buses_chip files;
	struct regmap *regmap;
	struct mtd_info *mtd;
	struct i2c_client *i2c;
	struct spi_device *spi;
	struct spmi_device *spmi;
	struct slim_device *slim;
	struct w1_master *w1;
};

/**
 * struct buses_operation - one call of a subsystem's
 * @operation: as dmasafe_client knows it
 * @kind: the bus that has it, or BUSES_ANY
 * @objection: why this bus cannot make the call, or NULL; may be NULL itself
 * @chip: the chip whose payload is looked at
 * @call: makes the call; returns what the API does
 */
struct buses_operation {
	struct operation operation;
	enum buses_kind kind;
	const char *(*objection)(const struct buses_bus *bus);
	struct buses_chip *(*chip)(struct buses_bus *bus);
	int (*call)(struct buses_bus *bus, struct scenario *s);
};

/* buses_main.c */
void buses_operation_call(struct scenario *s);
const char *buses_operation_objection(const struct scenario *s);

#define BUSES_OPERATION(name_, rd_, kind_, objection_, chip_, call_)			\
	{										\
		.operation = {								\
			.name = name_, .rd = rd_, .buffer = true,			\
			.call = buses_operation_call,					\
			.objection = buses_operation_objection,				\
		},									\
		.kind = kind_, .objection = objection_, .chip = chip_, .call = call_,	\
	}

/* Operations, each table with an empty row at its end. */
extern const struct buses_operation buses_regmap_operations[];
extern const struct buses_operation buses_mtd_operations[];
extern const struct buses_operation buses_files_operations[];
extern const struct buses_operation buses_spi_operations[];
extern const struct buses_operation buses_spmi_operations[];
extern const struct buses_operation buses_slimbus_operations[];
extern const struct buses_operation buses_w1_operations[];
struct buses_chip *buses_plain(struct buses_bus *bus);
struct buses_chip *buses_registers(struct buses_bus *bus);

/* Buses. */
int buses_i2c_start(struct buses_bus *bus);
int buses_spi_start(struct buses_bus *bus);
int buses_spi_own_start(struct buses_bus *bus);
int buses_spi_mem_start(struct buses_bus *bus);
int buses_spmi_base_start(struct buses_bus *bus);
int buses_spmi_start(struct buses_bus *bus);
int buses_slimbus_start(struct buses_bus *bus);
int buses_w1_start(struct buses_bus *bus);
int buses_w1_pair_start(struct buses_bus *bus);

/* buses_spi.c */
struct spi_controller;
struct spi_controller_mem_ops;
int buses_spi_add(struct buses_bus *bus, bool core_maps, const struct spi_controller_mem_ops *ops);
struct buses_chip *buses_spi_chip(struct spi_device *spi);

/* buses_spi_mem.c */
extern const struct spi_controller_mem_ops buses_spi_mem_ops;

/* buses_registers.c */
int buses_registers_init(struct buses_chip *chip, struct device *dev, size_t header);

/* buses_flash.c */
int buses_flash_init(struct buses_chip *chip, struct device *dev);

/* buses_files.c */
int buses_files_watch(struct buses_bus *bus);
void buses_files_count(const struct buses_chip *chip, const void *buf);

/* buses_regmap.c */
extern const struct regmap_config buses_regmap_8_8;
extern const struct regmap_config buses_regmap_16_8;

/* buses_dma.c */
int buses_dma_single(struct buses_chip *chip, void *buf, size_t len, bool rd);
int buses_dma_sg(struct buses_chip *chip, struct sg_table *table, size_t len, bool rd);
void buses_pio(struct buses_chip *chip, u8 *bytes, size_t len, bool rd);

/* buses_record.c */
void buses_record_begin(struct buses_chip *chip);
void buses_record_payload(struct buses_chip *chip, bool rd, const u8 *bytes, size_t len,
			  const struct buses_segment *segments, unsigned int count, size_t skip);
void buses_record_answer(struct scenario *s);

#endif
