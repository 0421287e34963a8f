// SPDX-License-Identifier: GPL-2.0-or-later
/* regmap's calls, the same on each bus. No register cache: every call reaches the bus. */
#include <linux/regmap.h>
#include "buses.h"

const struct regmap_config buses_regmap_8_8 = {
	.reg_bits = 8,
	.val_bits = 8,
};

const struct regmap_config buses_regmap_16_8 = {
	.reg_bits = 16,
	.val_bits = 8,
};

static const char *no_regmap(const struct buses_bus *bus)
{
	return bus->regmap ? NULL : "no regmap on this bus";
}

static int call_write(struct buses_bus *bus, struct scenario *s)
{
	return s->len == 1 ? regmap_write(bus->regmap, BUSES_REGISTER, *s->buf) : -EINVAL;
}

static int call_read(struct buses_bus *bus, struct scenario *s)
{
	unsigned int value;
	int ret = s->len == 1 ? regmap_read(bus->regmap, BUSES_REGISTER, &value) : -EINVAL;

	if (!ret)
		*s->buf = value;
	return ret;
}

static int call_raw_write(struct buses_bus *bus, struct scenario *s)
{
	return regmap_raw_write(bus->regmap, BUSES_REGISTER, s->buf, s->len);
}

static int call_raw_read(struct buses_bus *bus, struct scenario *s)
{
	return regmap_raw_read(bus->regmap, BUSES_REGISTER, s->buf, s->len);
}

static int call_bulk_write(struct buses_bus *bus, struct scenario *s)
{
	return regmap_bulk_write(bus->regmap, BUSES_REGISTER, s->buf, s->len);
}

static int call_bulk_read(struct buses_bus *bus, struct scenario *s)
{
	return regmap_bulk_read(bus->regmap, BUSES_REGISTER, s->buf, s->len);
}

static int call_noinc_write(struct buses_bus *bus, struct scenario *s)
{
	return regmap_noinc_write(bus->regmap, BUSES_REGISTER, s->buf, s->len);
}

static int call_noinc_read(struct buses_bus *bus, struct scenario *s)
{
	return regmap_noinc_read(bus->regmap, BUSES_REGISTER, s->buf, s->len);
}

#define REGMAP_OPERATION(name, rd, call) \
	BUSES_OPERATION("regmap_" name, rd, BUSES_ANY, no_regmap, buses_registers, call)

const struct buses_operation buses_regmap_operations[] = {
	REGMAP_OPERATION("write", false, call_write),
	REGMAP_OPERATION("read", true, call_read),
	REGMAP_OPERATION("raw_write", false, call_raw_write),
	REGMAP_OPERATION("raw_read", true, call_raw_read),
	REGMAP_OPERATION("bulk_write", false, call_bulk_write),
	REGMAP_OPERATION("bulk_read", true, call_bulk_read),
	REGMAP_OPERATION("noinc_write", false, call_noinc_write),
	REGMAP_OPERATION("noinc_read", true, call_noinc_read),
	{}
};
