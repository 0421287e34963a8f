// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 1-Wire masters that send single bytes without DMA, and map the buffers of blocks. One has a
 * slave, one has two: with two, the W1 core selects a slave by a block of its own.
 */
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/w1.h>
#include "buses.h"

#define W1_FAMILY_DMASAFE 0xd5
#define W1_APPEAR_TIMEOUT_MS 2000
/* Bytes before a register's value: the slave's selection, the command, the register. */
#define W1_HEADER_SKIP_ROM (1 + 2)
#define W1_HEADER_MATCH_ROM (9 + 2)

/**
 * struct w1_hardware - one master
 * @bus: its row
 * @master: what the W1 core is told
 * @slaves: how many are connected
 * @found: as many as the W1 core has made devices
 * @complete: all of them
 */
struct w1_hardware {
	struct buses_bus *bus;
	struct w1_bus_master master;
	unsigned int slaves;
	unsigned int found;
	struct completion complete;
};

static u8 w1_read_byte(void *data)
{
	struct w1_hardware *w1 = data;
	u8 byte;

	buses_pio(&w1->bus->registers, &byte, 1, true);
	return byte;
}

static void w1_write_byte(void *data, u8 byte)
{
	struct w1_hardware *w1 = data;

	buses_pio(&w1->bus->registers, &byte, 1, false);
}

/* The W1 core takes the length for granted, and asks the other for nothing at all. */
static u8 w1_read_buffer(void *data, u8 *buf, int len)
{
	struct w1_hardware *w1 = data;

	return buses_dma_single(&w1->bus->registers, buf, len, true) ? 0 : len;
}

static void w1_write_buffer(void *data, const u8 *buf, int len)
{
	struct w1_hardware *w1 = data;

	buses_dma_single(&w1->bus->registers, (void *)buf, len, false);
}

static u8 w1_reset(void *data)
{
	struct w1_hardware *w1 = data;
	struct buses_chip *chip = &w1->bus->registers;

	chip->type->begin(chip);
	return 0;
}

static void w1_search_bus(void *data, struct w1_master *master, u8 type,
			  w1_slave_found_callback found)
{
	struct w1_hardware *w1 = data;
	unsigned int i;

	for (i = 0; i < w1->slaves; i++) {
		/* Their numbers are device names: no two alike on all buses. */
		u8 number[8] = { W1_FAMILY_DMASAFE, i + 1, w1->slaves };
		__le64 rn;

		number[7] = w1_calc_crc8(number, 7);
		memcpy(&rn, number, sizeof(rn));
		found(master, le64_to_cpu(rn));
	}
}

static int w1_add_slave(struct w1_slave *sl)
{
	struct w1_hardware *w1 = sl->master->bus_master->data;
	struct buses_bus *bus = w1->bus;

	bus->w1 = sl->master;
	if (!bus->regmap)
		bus->regmap = regmap_init_w1(&sl->dev, &buses_regmap_8_8);
	if (++w1->found == w1->slaves)
		complete(&w1->complete);
	return 0;
}

static const struct w1_family_ops w1_family_operations = {
	.add_slave = w1_add_slave,
};

static struct w1_family w1_dmasafe_family = {
	.fid = W1_FAMILY_DMASAFE,
	.fops = &w1_family_operations,
};

static int add_master(struct buses_bus *bus, unsigned int slaves, size_t header)
{
	struct w1_hardware *w1 = devm_kzalloc(bus->dev, sizeof(*w1), GFP_KERNEL);
	int ret;

	if (!w1)
		return -ENOMEM;
	ret = buses_registers_init(&bus->registers, bus->dev, header);
	if (ret)
		return ret;
	w1->bus = bus;
	w1->slaves = slaves;
	init_completion(&w1->complete);
	w1->master = (struct w1_bus_master) {
		.data = w1, .read_byte = w1_read_byte, .write_byte = w1_write_byte,
		.read_block = w1_read_buffer, .write_block = w1_write_buffer,
		.reset_bus = w1_reset, .search = w1_search_bus,
	};
	ret = w1_add_master_device(&w1->master);
	if (ret)
		return ret;
	/* The W1 core's thread looks for slaves. */
	if (!wait_for_completion_timeout(&w1->complete, msecs_to_jiffies(W1_APPEAR_TIMEOUT_MS)))
		return -ETIMEDOUT;
	return PTR_ERR_OR_ZERO(bus->regmap);
}

/**
 * buses_w1_start() - make a master with one slave, which has a regmap
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_w1_start(struct buses_bus *bus)
{
	int ret = w1_register_family(&w1_dmasafe_family);

	return ret ?: add_master(bus, 1, W1_HEADER_SKIP_ROM);
}

/**
 * buses_w1_pair_start() - make a master with two slaves, one of which has a regmap
 * @bus: its row
 *
 * Return: 0 or a negative errno.
 */
int buses_w1_pair_start(struct buses_bus *bus)
{
	return add_master(bus, 2, W1_HEADER_MATCH_ROM);
}

static int call_read_block(struct buses_bus *bus, struct scenario *s)
{
	return w1_read_block(bus->w1, s->buf, s->len) == s->len ? 0 : -EIO;
}

static int call_write_block(struct buses_bus *bus, struct scenario *s)
{
	w1_write_block(bus->w1, s->buf, s->len);
	return 0;
}

const struct buses_operation buses_w1_operations[] = {
	BUSES_OPERATION("w1_read_block", true, BUSES_W1, NULL, buses_registers, call_read_block),
	BUSES_OPERATION("w1_write_block", false, BUSES_W1, NULL, buses_registers, call_write_block),
	{}
};
