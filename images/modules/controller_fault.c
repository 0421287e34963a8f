// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mistakes to seed into the driver: each row of a table names one and replaces the steps that
 * it does wrong.
 *
 * A function's comment says which rule is broken, and which function of the kernel notices. What
 * a mistake would leave behind in dma-debug's books is put right afterwards, so that it
 * falls on nobody else's scenario; the report has been made by then.
 */
#include <linux/string.h>
#include "controller.h"

static const struct controller_fault faults_none[] = {
	{ "none", {} },
	{}
};

static const struct controller_fault *const fault_tables[] = {
	faults_none,
	controller_faults_map,
	controller_faults_unmap,
	controller_faults_sync,
	controller_faults_sg,
	controller_faults_coherent,
	controller_faults_life,
	controller_faults_view,
};

/**
 * controller_fault_find() - the row of a mistake
 * @name: its name, a newline may follow
 *
 * Return: the row, or NULL if there is none of that name.
 */
const struct controller_fault *controller_fault_find(const char *name)
{
	const struct controller_fault *fault;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fault_tables); i++)
		for (fault = fault_tables[i]; fault->name; fault++)
			if (sysfs_streq(name, fault->name))
				return fault;
	return NULL;
}

/**
 * fault_no_unmap() - an unmap step that does nothing
 * @ctl: the controller
 * @payload: the message
 */
void fault_no_unmap(struct controller *ctl, struct payload *payload)
{
}

/**
 * fault_bounce() - a get step that bounces the message through memory of the fault's own
 * @payload: the message; the memory is kept in its spare
 * @memory: payload->len bytes or NULL
 *
 * Return: the buffer to hand to the hardware, or NULL.
 */
u8 *fault_bounce(struct payload *payload, void *memory)
{
	payload->spare.memory = memory;
	if (memory && payload->dir == DMA_TO_DEVICE)
		memcpy(memory, payload->msg->buf, payload->len);
	else if (memory)
		memset(memory, 0, payload->len);
	return memory;
}

/**
 * fault_unbounce() - copies what was read to the message
 * @payload: the message, its buffer that of fault_bounce()
 * @transferred: the transfer succeeded
 */
void fault_unbounce(struct payload *payload, bool transferred)
{
	if (transferred && payload->dir == DMA_FROM_DEVICE)
		memcpy(payload->msg->buf, payload->spare.memory, payload->msg->len);
}
