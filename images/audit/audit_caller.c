// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who sent a message: the stack, less the I2C core. Whether a return address is the core's is
 * asked of kallsyms once and then remembered.
 */
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/spinlock.h>
#include <linux/stacktrace.h>
#include <linux/string.h>
#include "audit.h"

#define CALLER_DEPTH 24
#define KNOWN_BITS 8
#define KNOWN_STEPS 4
#define FUNCTION_TEXT 64

/* CORE: of a transfer's way through the I2C core. LAYER: between the core and a driver. */
enum function_kind { FUNCTION_OTHER, FUNCTION_CORE, FUNCTION_LAYER, FUNCTION_KINDS };

static const struct {
	const char *prefix;
	enum function_kind kind;
} function_names[] = {
	{ "__i2c_transfer", FUNCTION_CORE },
	{ "i2c_transfer", FUNCTION_CORE },
	{ "i2c_smbus_", FUNCTION_CORE },
	{ "__i2c_smbus_", FUNCTION_CORE },
	{ "i2c_master_", FUNCTION_CORE },
	{ "__traceiter_i2c_", FUNCTION_CORE },
	{ "i2c_mux_master_xfer", FUNCTION_CORE },
	{ "__i2c_mux_master_xfer", FUNCTION_CORE },
	{ "i2c_mux_smbus_xfer", FUNCTION_CORE },
	{ "__i2c_mux_smbus_xfer", FUNCTION_CORE },
	{ "i2c_atr_master_xfer", FUNCTION_CORE },
	{ "i2c_atr_smbus_xfer", FUNCTION_CORE },
	{ "regmap_", FUNCTION_LAYER },
	{ "_regmap_", FUNCTION_LAYER },
	{ "__regmap_", FUNCTION_LAYER },
};

/* Return addresses by what they are: one word an entry, so that it is read whole without a lock. */
static unsigned long known[FUNCTION_KINDS][1 << KNOWN_BITS];
static DEFINE_RAW_SPINLOCK(known_lock);

static enum function_kind ask_kind(unsigned long address)
{
	char name[FUNCTION_TEXT];
	size_t i;

	scnprintf(name, sizeof(name), "%pB", (void *)address);
	for (i = 0; i < ARRAY_SIZE(function_names); i++)
		if (!strncmp(name, function_names[i].prefix, strlen(function_names[i].prefix)))
			return function_names[i].kind;
	return FUNCTION_OTHER;
}

static unsigned long *known_entry(enum function_kind kind, unsigned long address, unsigned int step)
{
	unsigned int start = hash_long(address, KNOWN_BITS);

	return &known[kind][(start + step) & ((1 << KNOWN_BITS) - 1)];
}

static void remember(enum function_kind kind, unsigned long address)
{
	unsigned long flags;
	unsigned int step;

	raw_spin_lock_irqsave(&known_lock, flags);
	for (step = 0; step < KNOWN_STEPS - 1; step++)
		if (!*known_entry(kind, address, step))
			break;
	WRITE_ONCE(*known_entry(kind, address, step), address);
	raw_spin_unlock_irqrestore(&known_lock, flags);
}

static enum function_kind kind_of(unsigned long address)
{
	enum function_kind kind;
	unsigned int step;

	for (kind = 0; kind < FUNCTION_KINDS; kind++)
		for (step = 0; step < KNOWN_STEPS; step++)
			if (READ_ONCE(*known_entry(kind, address, step)) == address)
				return kind;
	kind = ask_kind(address);
	remember(kind, address);
	return kind;
}

/**
 * caller_forget() - what stands at an address may have changed
 */
void caller_forget(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&known_lock, flags);
	memset(known, 0, sizeof(known));
	raw_spin_unlock_irqrestore(&known_lock, flags);
}

#ifdef CONFIG_STACKTRACE

/**
 * caller_find() - the frames below the I2C core of the transfer under way
 * @caller: the answer; no frames if the stack cannot be read
 */
noinline void caller_find(struct caller *caller)
{
	unsigned long entries[CALLER_DEPTH];
	unsigned int count = stack_trace_save(entries, ARRAY_SIZE(entries), 1);
	unsigned int i = 0;

	caller->count = 0;
	caller->key = 0;
	while (i < count && kind_of(entries[i]) != FUNCTION_CORE)
		i++;
	while (i < count && kind_of(entries[i]) == FUNCTION_CORE)
		i++;
	for (; i < count && caller->count < AUDIT_FRAMES; i++)
		caller->frames[caller->count++] = entries[i];
	while (caller->key < caller->count &&
	       kind_of(caller->frames[caller->key]) == FUNCTION_LAYER)
		caller->key++;
	if (caller->key == caller->count)
		caller->key = 0;
}

#else

void caller_find(struct caller *caller)
{
	caller->count = 0;
	caller->key = 0;
}

#endif
