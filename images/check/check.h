/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What functions made at random (harness/dmasafe/check/programs.py) are compiled against, so that a guest
 * can say whether dmasafe check is right about them.
 */
#ifndef DMASAFE_CHECK_H
#define DMASAFE_CHECK_H

#include <linux/dma-mapping.h>
#include <linux/types.h>

struct i2c_client;
struct scatterlist;
struct spi_device;
struct usb_device;

/**
 * struct check_function - one function, a row of the generated table
 * @bus: the sink's: spi, i2c or dma
 * @call: the function
 */
struct check_function {
	const char *bus;
	int (*call)(struct spi_device *spi, struct usb_device *usb, struct i2c_client *i2c, struct device *dev,
		    u8 given);
};

extern const struct check_function check_functions[];
extern const unsigned int check_count;

/* check_device.c */
int check_single(struct device *dev, dma_addr_t at, const void *buf, size_t len, enum dma_data_direction direction);
int check_list(struct device *dev, struct scatterlist *sg, const void *buf, enum dma_data_direction direction);

/* check_main.c */
void check_keep(const void *memory);

#endif
