// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A chip that knows nothing of its driver. Which rule gets the driver furthest is found by trying.
 */
#include <linux/minmax.h>
#include <linux/random.h>
#include <linux/string.h>
#include "prove.h"

/**
 * chip_answer() - what the chip says during one transfer
 * @chip: the chip
 * @tx: what is written to it, or NULL
 * @rx: where the answer goes, or NULL
 * @len: bytes of the transfer
 */
void chip_answer(struct chip *chip, const u8 *tx, u8 *rx, unsigned int len)
{
	unsigned int i;

	chip->turn++;
	for (i = 0; rx && i < len; i++) {
		switch (chip->mode) {
		case ANSWER_BYTES:
			rx[i] = chip->length ? chip->bytes[i % chip->length] : 0;
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
	if (tx)
		memcpy(chip->last, tx, min_t(unsigned int, len, ANSWER_MAX));
}
