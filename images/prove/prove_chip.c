// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Chips. One knows nothing of its driver: which rule gets the driver furthest is found by trying.
 * The other is played by a slave on an I2C adapter, which may be a program outside the guest.
 */
#include <linux/i2c.h>
#include <linux/minmax.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/string.h>
#include "prove.h"

/* What the chip knows to say to what was written last, or NULL. */
static const struct row *known(const struct chip *chip)
{
	unsigned int i;

	for (i = 0; i < chip->count; i++)
		if (!memcmp(chip->rows[i].to, chip->last, chip->rows[i].to_length))
			return &chip->rows[i];
	return NULL;
}

/**
 * chip_answer() - what the chip says during one transfer
 * @chip: the chip
 * @tx: what is written to it, or NULL
 * @rx: where the answer goes, or NULL
 * @len: bytes of the transfer
 */
void chip_answer(struct chip *chip, const u8 *tx, u8 *rx, unsigned int len)
{
	const u8 *bytes = chip->bytes;
	unsigned int i, length = chip->length;
	const struct row *row;

	chip->turn++;
	if (tx)
		memcpy(chip->last, tx, min_t(unsigned int, len, ANSWER_MAX));
	row = known(chip);
	if (row) {
		bytes = row->bytes;
		length = row->length;
	}
	for (i = 0; rx && i < len; i++) {
		switch (chip->mode) {
		case ANSWER_BYTES:
			rx[i] = length ? bytes[i % length] : 0;
			break;
		case ANSWER_ECHO:
			rx[i] = tx ? tx[i] : chip->last[i % ANSWER_MAX];
			break;
		case ANSWER_TOGGLE:
			rx[i] = chip->turn & 1 ? 0xff : 0;
			break;
		case ANSWER_COUNT:
			rx[i] = chip->turn;
			break;
		case ANSWER_RANDOM:
			rx[i] = get_random_u8();
			break;
		}
	}
}

/**
 * player_answer() - have the slave play the chip during one transfer
 * @board: the board, whose player is an adapter
 * @tx: what is written to it, or NULL
 * @rx: where the answer goes, or NULL
 * @len: bytes of the transfer
 *
 * What is written is a write to the slave, what is read a read that follows it.
 *
 * Return: 0 or a negative errno
 */
int player_answer(struct board *board, const u8 *tx, u8 *rx, unsigned int len)
{
	struct i2c_msg msgs[2] = {};
	unsigned int count = 0;
	u8 *bytes;
	int ret;

	if (!len || (!tx && !rx))
		return 0;
	if (len > U16_MAX)
		return -EMSGSIZE;
	bytes = kmalloc(2 * len, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	if (tx) {
		memcpy(bytes, tx, len);
		msgs[count].buf = bytes;
		msgs[count].len = len;
		msgs[count++].addr = board->wish.address;
	}
	if (rx) {
		msgs[count].buf = bytes + len;
		msgs[count].len = len;
		msgs[count].flags = I2C_M_RD;
		msgs[count++].addr = board->wish.address;
	}
	ret = i2c_transfer(board->player, msgs, count);
	if (ret == count && rx)
		memcpy(rx, bytes + len, len);
	kfree(bytes);
	return ret == count ? 0 : ret < 0 ? ret : -EIO;
}
