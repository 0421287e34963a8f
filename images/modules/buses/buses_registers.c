// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A chip with registers of a byte. A message begins with so many bytes of header, the last of
 * which is the register; without a header the controller says where, or it goes on.
 */
#include <linux/slab.h>
#include "buses.h"

#define REGISTERS 0x4000
/* What SPI's regmap sets in the register's number for a read. */
#define READ_FLAG 0x80

static void registers_begin(struct buses_chip *chip)
{
	chip->left = chip->header;
}

static u8 *next_register(struct buses_chip *chip)
{
	return &chip->memory[chip->position++ & (chip->size - 1)];
}

static size_t registers_tx(struct buses_chip *chip, const u8 *data, size_t len)
{
	size_t skip = min(chip->left, len);
	size_t i;

	if (skip)
		chip->position = data[skip - 1] & ~READ_FLAG;
	chip->left -= skip;
	for (i = skip; i < len; i++)
		*next_register(chip) = data[i];
	return skip;
}

static size_t registers_rx(struct buses_chip *chip, u8 *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = *next_register(chip);
	return 0;
}

static void registers_prepare(struct buses_chip *chip, bool rd, size_t len, u32 fill)
{
	chip->left = 0;
	chip->position = BUSES_REGISTER;
	memset(chip->memory, 0, chip->size);
	if (rd)
		client_fill(chip->memory + BUSES_REGISTER, len, fill);
}

static const struct buses_chip_type registers_type = {
	.begin = registers_begin,
	.tx = registers_tx,
	.rx = registers_rx,
	.prepare = registers_prepare,
};

/**
 * buses_registers_init() - make a chip with registers
 * @chip: set
 * @dev: does DMA for its controller
 * @header: bytes at the start of a message that are not payload
 *
 * Return: 0 or -ENOMEM.
 */
int buses_registers_init(struct buses_chip *chip, struct device *dev, size_t header)
{
	*chip = (struct buses_chip) {
		.type = &registers_type, .dev = dev, .size = REGISTERS, .header = header,
		.memory = kzalloc(REGISTERS, GFP_KERNEL),
	};
	return chip->memory ? 0 : -ENOMEM;
}
