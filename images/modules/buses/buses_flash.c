// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A NOR flash in memory: an M25P32, which spi-nor knows by its JEDEC ID and asks for nothing
 * else. Payload is what is read from the array or programmed into it.
 */
#include <linux/align.h>
#include <linux/mtd/spi-nor.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>
#include "buses.h"

#define FLASH_BYTES SZ_4M
#define FLASH_SECTOR SZ_64K
#define FLASH_PAGE 256

static const u8 flash_id[] = { 0x20, 0x20, 0x16 };

/* Bytes of command, address and dummies. */
static size_t command_len(u8 command)
{
	switch (command) {
	case SPINOR_OP_READ:
	case SPINOR_OP_PP:
	case SPINOR_OP_SE:
		return 4;
	case SPINOR_OP_READ_FAST:
		return 5;
	default:
		return 1;
	}
}

static void flash_begin(struct buses_chip *chip)
{
	/* Programming ends with its message. */
	if (chip->flash.command == SPINOR_OP_PP)
		chip->flash.writable = false;
	chip->header = 0;
	chip->flash.command = 0;
	chip->flash.address = 0;
}

static void take_header(struct buses_chip *chip, u8 byte)
{
	if (!chip->header++)
		chip->flash.command = byte;
	else if (chip->header <= 4)
		chip->flash.address = (chip->flash.address << 8 | byte) & (chip->size - 1);
	chip->position = chip->flash.address;
}

static void program(struct buses_chip *chip, u8 byte)
{
	size_t page = ALIGN_DOWN(chip->position, FLASH_PAGE);

	chip->memory[chip->position] &= byte;
	/* Past the end of a page it goes on at its start. */
	chip->position = page + (chip->position + 1) % FLASH_PAGE;
}

/* What a command does once all its bytes are there. */
static void obey(struct buses_chip *chip)
{
	size_t sector = ALIGN_DOWN(chip->flash.address, FLASH_SECTOR);

	switch (chip->flash.command) {
	case SPINOR_OP_WREN:
		chip->flash.writable = true;
		break;
	case SPINOR_OP_WRDI:
		chip->flash.writable = false;
		break;
	case SPINOR_OP_SE:
		if (chip->flash.writable)
			memset(chip->memory + sector, 0xff, FLASH_SECTOR);
		chip->flash.writable = false;
		break;
	case SPINOR_OP_CHIP_ERASE:
		if (chip->flash.writable)
			memset(chip->memory, 0xff, chip->size);
		chip->flash.writable = false;
		break;
	}
}

static bool header_complete(const struct buses_chip *chip)
{
	return chip->header && chip->header >= command_len(chip->flash.command);
}

static size_t flash_tx(struct buses_chip *chip, const u8 *data, size_t len)
{
	size_t skip, i;

	for (skip = 0; skip < len && !header_complete(chip); skip++) {
		take_header(chip, data[skip]);
		if (header_complete(chip))
			obey(chip);
	}
	if (chip->flash.command != SPINOR_OP_PP || !chip->flash.writable)
		return len;
	for (i = skip; i < len; i++)
		program(chip, data[i]);
	return skip;
}

static size_t flash_rx(struct buses_chip *chip, u8 *data, size_t len)
{
	size_t i;

	switch (chip->flash.command) {
	case SPINOR_OP_READ:
	case SPINOR_OP_READ_FAST:
		for (i = 0; i < len; i++)
			data[i] = chip->memory[chip->position++ & (chip->size - 1)];
		return 0;
	case SPINOR_OP_RDID:
		for (i = 0; i < len; i++)
			data[i] = i < sizeof(flash_id) ? flash_id[i] : 0;
		return len;
	case SPINOR_OP_RDSR:
		memset(data, chip->flash.writable ? SR_WEL : 0, len);
		return len;
	default:
		memset(data, 0xff, len);
		return len;
	}
}

static void flash_prepare(struct buses_chip *chip, bool rd, size_t len, u32 fill)
{
	if (rd)
		client_fill(chip->memory, len, fill);
	else
		memset(chip->memory, 0xff, len);
}

static const struct buses_chip_type flash_type = {
	.begin = flash_begin,
	.tx = flash_tx,
	.rx = flash_rx,
	.prepare = flash_prepare,
};

/**
 * buses_flash_init() - make an erased flash
 * @chip: set
 * @dev: does DMA for its controller
 *
 * Return: 0 or -ENOMEM.
 */
int buses_flash_init(struct buses_chip *chip, struct device *dev)
{
	*chip = (struct buses_chip) {
		.type = &flash_type, .dev = dev, .size = FLASH_BYTES,
		.memory = vmalloc(FLASH_BYTES),
	};
	if (!chip->memory)
		return -ENOMEM;
	memset(chip->memory, 0xff, FLASH_BYTES);
	return 0;
}
