// SPDX-License-Identifier: GPL-2.0-or-later
/* MTD's calls on a SPI flash: spi-nor decides which buffers its controller gets to see. */
#include <linux/mtd/mtd.h>
#include "buses.h"

static const char *no_mtd(const struct buses_bus *bus)
{
	return bus->mtd ? NULL : "no flash on this bus";
}

static struct buses_chip *flash(struct buses_bus *bus)
{
	return &bus->flash;
}

static int call_read(struct buses_bus *bus, struct scenario *s)
{
	size_t done = 0;
	int ret = mtd_read(bus->mtd, 0, s->len, &done, s->buf);

	return ret ?: done == s->len ? 0 : -EIO;
}

static int call_write(struct buses_bus *bus, struct scenario *s)
{
	size_t done = 0;
	int ret = mtd_write(bus->mtd, 0, s->len, &done, s->buf);

	return ret ?: done == s->len ? 0 : -EIO;
}

const struct buses_operation buses_mtd_operations[] = {
	BUSES_OPERATION("mtd_read", true, BUSES_ANY, no_mtd, flash, call_read),
	BUSES_OPERATION("mtd_write", false, BUSES_ANY, no_mtd, flash, call_write),
	{}
};
