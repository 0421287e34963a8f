// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What to do, by name; and what needs no file of its own: hangs and floods.
 */
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/string.h>
#include "sabotage.h"

/*
 * A flood in bursts, each half as much again as the log of 1 MiB holds: a short run has ended before
 * a single one would come, and a quick reader keeps up with what the log can hold.
 */
#define BURSTS 5
#define BURST_PAUSE_MS 5

static char *act = "";
module_param(act, charp, 0444);
MODULE_PARM_DESC(act, "what to do");

static unsigned int lines = 100000;
module_param(lines, uint, 0444);
MODULE_PARM_DESC(lines, "how many lines make a flood");

static int hang(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
	return 0;
}

/* Interrupts go on, so that the watchdog's timer sees it. */
static int soft_lockup(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
	return 0;
}

static void flood_of(unsigned int count)
{
	unsigned int i;

	for (i = 1; i <= count; i++)
		pr_info("sabotage: line %u of %u, of which nobody needs a single one\n", i, count);
}

static int flood(void)
{
	flood_of(lines);
	return 0;
}

static int flood_thread(void *unused)
{
	int i;

	for (i = 0; i < BURSTS; i++) {
		msleep(BURST_PAUSE_MS);
		flood_of(lines / BURSTS);
	}
	return 0;
}

static int flood_later(void)
{
	struct task_struct *task = kthread_run(flood_thread, NULL, "flood");

	return PTR_ERR_OR_ZERO(task);
}

static const struct {
	const char *name;
	int (*run)(void);
} acts[] = {
	{ "hang", hang },
	{ "soft-lockup", soft_lockup },
	{ "flood", flood },
	{ "flood-later", flood_later },
	{ "memory", sabotage_memory },
	{ "entries", sabotage_entries },
	{ "strict-bypass", sabotage_strict_bypass },
	{ "strict-full", sabotage_strict_full },
	{ "strict-flood", sabotage_strict_flood },
	{ "strict-refusals", sabotage_strict_refusals },
};

static int __init sabotage_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(acts); i++)
		if (!strcmp(act, acts[i].name))
			return acts[i].run();
	return sabotage_hostile(act);
}
module_init(sabotage_init);

/* flood_thread() runs this module's code: what has an exit could be unloaded under it. */

MODULE_DESCRIPTION("Wrecks the guest, for the harness to notice");
MODULE_AUTHOR("dmasafe");
MODULE_LICENSE("GPL");
