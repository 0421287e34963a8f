// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What was found, in the kernel's manner: a warning whose trace shows who did it, and behind it the
 * traces of who mapped the memory and who unmapped it, as dma-debug prints them.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/stacktrace.h>
#include "compat.h"
#include "strict.h"

/* Frames of this module's own: strict_stack_save() and its caller. */
#define OWN_FRAMES 2

static unsigned int strict_reports;
module_param_named(reports, strict_reports, uint, 0444);
MODULE_PARM_DESC(reports, "broken rules that were reported");

/**
 * strict_stack_save() - note who is running
 * @stack: takes the trace
 */
void strict_stack_save(struct strict_stack *stack)
{
	stack->count = stack_trace_save(stack->frames, STRICT_FRAMES, OWN_FRAMES);
}

/* Findings that wait until no lock is held. More than so many at a time are counted as lost. */
#define WAITING 32

struct finding {
	char text[256];
	char driver[32];
	char device[32];
	struct strict_stack mapped;
	struct strict_stack unmapped;
	const void *memory;
};

static struct finding waiting[WAITING];
static unsigned int first_waiting, waiting_count;

/**
 * strict_find() - note a broken rule, to be reported when no lock is held
 * @dev: whose driver broke it, NULL if it is not known
 * @mapping: the mapping concerned, or NULL
 * @memory: whose bytes are concerned, or NULL
 * @format: what is wrong, a printf format
 *
 * strict_lock must be held.
 */
void strict_find(struct device *dev, const struct strict_mapping *mapping, const void *memory,
		 const char *format, ...)
{
	struct finding *finding;
	va_list arguments;

	lockdep_assert_held(&strict_lock);
	if (waiting_count == WAITING) {
		strict_unread++;
		return;
	}
	finding = &waiting[(first_waiting + waiting_count++) % WAITING];
	memset(finding, 0, sizeof(*finding));
	va_start(arguments, format);
	vscnprintf(finding->text, sizeof(finding->text), format, arguments);
	va_end(arguments);
	strscpy(finding->driver, dev ? dev_driver_string(dev) : "NULL", sizeof(finding->driver));
	strscpy(finding->device, dev ? dev_name(dev) : mapping ? mapping->owner : "NULL",
		sizeof(finding->device));
	finding->memory = memory;
	if (mapping) {
		finding->mapped = mapping->mapped;
		finding->unmapped = mapping->unmapped;
	}
}

/*
 * The finding to report next, when the last one is done; NULL if there is none, or if somebody else
 * is reporting and will come to it.
 */
static struct finding *next_finding(bool done)
{
	static bool reporting;
	struct finding *found = NULL;
	unsigned long flags;

	raw_spin_lock_irqsave(&strict_lock, flags);
	if (done) {
		first_waiting = (first_waiting + 1) % WAITING;
		waiting_count--;
		strict_reports++;
		reporting = false;
	}
	if (waiting_count && !reporting) {
		found = &waiting[first_waiting];
		reporting = true;
	}
	raw_spin_unlock_irqrestore(&strict_lock, flags);
	return found;
}

static void print_stack(const char *title, const struct strict_stack *stack)
{
	if (!stack->count)
		return;
	pr_warn("%s at:\n", title);
	stack_trace_print((unsigned long *)stack->frames, stack->count, 1);
}

/* Slab cache, object and offset; and who allocated it, with slub_debug=U. */
static void print_owner(const void *memory)
{
#ifdef STRICT_DUMPS_OBJECTS
	if (!memory)
		return;
	pr_warn("The bytes are of:");
	mem_dump_obj((void *)memory);
#endif
}

/**
 * strict_report() - report what was noted; no lock of the module's may be held
 */
void strict_report(void)
{
	struct finding *finding;

	if (!READ_ONCE(waiting_count))
		return;
	for (finding = next_finding(false); finding; finding = next_finding(true)) {
		WARN(1, "dmasafe-strict: BUG: %s %s: %s\n", finding->driver, finding->device,
		     finding->text);
		print_stack("Mapped", &finding->mapped);
		print_stack("Unmapped", &finding->unmapped);
		print_owner(finding->memory);
	}
}

/**
 * strict_report_wait() - wait until all that was noted is in the log, whoever reports it; may sleep
 */
void strict_report_wait(void)
{
	/* A finding waits until it is printed to the end. */
	while (READ_ONCE(waiting_count))
		usleep_range(100, 200);
}

/**
 * strict_direction() - a direction as the driver writes it
 * @dir: the direction
 */
const char *strict_direction(enum dma_data_direction dir)
{
	switch (dir) {
	case DMA_TO_DEVICE:
		return "DMA_TO_DEVICE";
	case DMA_FROM_DEVICE:
		return "DMA_FROM_DEVICE";
	case DMA_BIDIRECTIONAL:
		return "DMA_BIDIRECTIONAL";
	default:
		return "DMA_NONE";
	}
}
