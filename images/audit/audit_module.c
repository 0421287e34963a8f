// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where modules lie, and which of their memory is text, read-only or data: __module_address() is
 * not for modules. Filled from the kobjects of /sys/module, kept up to date by the module notifier.
 */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include "audit.h"
#include "compat.h"

/* Up to four for each module; where they do not suffice, MEMORY_MODULE is what is said. */
#define MODULE_RANGES 2048

struct module_range {
	unsigned long start;
	unsigned long end;
	enum memory_class class;
	const struct module *module;
};

static struct module_range *ranges;
static unsigned int range_count;
static DEFINE_RAW_SPINLOCK(range_lock);

static void note_range(const struct module *module, const void *start, unsigned long size,
		       enum memory_class class)
{
	if (!size || range_count == MODULE_RANGES)
		return;
	ranges[range_count++] = (struct module_range) {
		.start = (unsigned long)start,
		.end = (unsigned long)start + size,
		.class = class,
		.module = module,
	};
}

#ifdef AUDIT_MODULE_MEMORY_TYPES
/* What is read-only after init is data for a caller: drivers must not rely on when init ends. */
static void add_memory(const struct module *module)
{
	static const enum memory_class classes[MOD_MEM_NUM_TYPES] = {
		[MOD_TEXT] = MEMORY_MODULE_TEXT,
		[MOD_RODATA] = MEMORY_MODULE_RODATA,
		[MOD_DATA] = MEMORY_MODULE_DATA,
		[MOD_RO_AFTER_INIT] = MEMORY_MODULE_DATA,
	};
	unsigned int type;

	for (type = 0; type < MOD_MEM_NUM_TYPES; type++)
		if (classes[type])
			note_range(module, module->mem[type].base, module->mem[type].size,
				   classes[type]);
}
#else
static void add_memory(const struct module *module)
{
	const struct module_layout *core = &module->core_layout;

	note_range(module, core->base, core->text_size, MEMORY_MODULE_TEXT);
	note_range(module, core->base + core->text_size, core->ro_size - core->text_size,
		   MEMORY_MODULE_RODATA);
	note_range(module, core->base + core->ro_size, core->size - core->ro_size,
		   MEMORY_MODULE_DATA);
#ifdef CONFIG_ARCH_WANTS_MODULES_DATA_IN_VMALLOC
	note_range(module, module->data_layout.base, module->data_layout.size,
		   MEMORY_MODULE_DATA);
#endif
}
#endif

static void forget_module(const struct module *module)
{
	unsigned int i = 0;

	while (i < range_count) {
		if (ranges[i].module == module)
			ranges[i] = ranges[--range_count];
		else
			i++;
	}
}

static void add_module(const struct module *module)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&range_lock, flags);
	forget_module(module);
	add_memory(module);
	raw_spin_unlock_irqrestore(&range_lock, flags);
}

static int module_event(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *module = data;
	unsigned long flags;

	if (state == MODULE_STATE_COMING) {
		add_module(module);
	} else if (state == MODULE_STATE_GOING) {
		raw_spin_lock_irqsave(&range_lock, flags);
		forget_module(module);
		raw_spin_unlock_irqrestore(&range_lock, flags);
	}
	/* Another module's functions may soon stand at the addresses of this one's. */
	caller_forget();
	return NOTIFY_DONE;
}

static struct notifier_block module_notifier = { .notifier_call = module_event };

/* A module's kobject leaves the set only after the notifier said that the module goes. */
static void add_all(void)
{
#ifdef CONFIG_SYSFS
	struct kset *set = THIS_MODULE->mkobj.kobj.kset;
	struct kobject *object;

	spin_lock(&set->list_lock);
	list_for_each_entry(object, &set->list, entry) {
		struct module *module = container_of(object, struct module_kobject, kobj)->mod;

		/* The kernel's own parts with parameters are in the set too. */
		if (module && module->state != MODULE_STATE_GOING)
			add_module(module);
	}
	spin_unlock(&set->list_lock);
#endif
	add_module(THIS_MODULE);
}

/**
 * module_ranges_class() - what part of a module an address belongs to
 * @address: any
 *
 * Return: MEMORY_UNKNOWN if it is no module's.
 */
enum memory_class module_ranges_class(unsigned long address)
{
	enum memory_class class = MEMORY_UNKNOWN;
	unsigned long flags;
	unsigned int i;

	raw_spin_lock_irqsave(&range_lock, flags);
	for (i = 0; i < range_count && class == MEMORY_UNKNOWN; i++)
		if (address >= ranges[i].start && address < ranges[i].end)
			class = ranges[i].class;
	raw_spin_unlock_irqrestore(&range_lock, flags);
#ifdef DMASAFE_MODULES_START
	/* On i386 modules have no space of their own: there such an address is vmalloc memory. */
	if (class == MEMORY_UNKNOWN && address >= DMASAFE_MODULES_START &&
	    address < DMASAFE_MODULES_END && !is_vmalloc_addr((void *)address))
		class = MEMORY_MODULE;
#endif
	return class;
}

/**
 * module_ranges_init() - learn where modules lie
 *
 * Return: 0 or a negative errno.
 */
int module_ranges_init(void)
{
	int ret;

	ranges = vzalloc(array_size(MODULE_RANGES, sizeof(*ranges)));
	if (!ranges)
		return -ENOMEM;
	ret = register_module_notifier(&module_notifier);
	if (ret) {
		vfree(ranges);
		return ret;
	}
	add_all();
	return 0;
}

/**
 * module_ranges_exit() - undo module_ranges_init(); nothing may be classified any more
 */
void module_ranges_exit(void)
{
	unregister_module_notifier(&module_notifier);
	vfree(ranges);
}
