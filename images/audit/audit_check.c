// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does the classification hold on this kernel? Memory of every kind that a module can have for
 * the asking is classified at load; a class that comes out wrong makes the audit worthless.
 */
#include <linux/gfp.h>
#include <linux/init_task.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "audit.h"
#include "compat.h"

#define CHECK_BYTES 64
#define CHECK_OFFSET 8
#define CHECK_TEXT 256

/* Not optimised away, and no constant that the compiler may place elsewhere. */
static const char check_rodata[CHECK_BYTES] = { 1 };
static char check_data[CHECK_BYTES] = { 1 };

static char wrong[CHECK_TEXT];

static void check(const char *what, const void *buf, enum memory_class expected)
{
	size_t len = strlen(wrong);
	struct memory memory;

	/* Too little memory to check is not a wrong answer. */
	if (!buf)
		return;
	memory_classify(buf, CHECK_OFFSET, &memory);
	if (memory.class != expected)
		scnprintf(wrong + len, sizeof(wrong) - len, "%s%s is taken for %s",
			  len ? ", " : "", what, audit_class_names[memory.class]);
}

/* The middle of a heap object is known for that, if object sizes are. */
static void check_embedded(const u8 *object)
{
	size_t len = strlen(wrong);
	struct memory memory;

	if (!object || !memory_knows_objects() || audit_in_kfence(object))
		return;
	memory_classify(object + CHECK_OFFSET, CHECK_OFFSET, &memory);
	if (memory.object != CHECK_BYTES || memory.offset != CHECK_OFFSET || !memory.before)
		scnprintf(wrong + len, sizeof(wrong) - len,
			  "%s%d bytes into a heap object are taken for %zu in one of %zu",
			  len ? ", " : "", CHECK_OFFSET, memory.offset, memory.object);
}

/* The stack of who started us; nothing is read from it that could have gone meanwhile. */
static void check_other_stack(void)
{
#if defined(CONFIG_THREAD_INFO_IN_TASK) && !defined(CONFIG_STACK_GROWSUP)
	struct task_struct *parent;

	rcu_read_lock();
	parent = rcu_dereference(current->real_parent);
	/* The first task's stack is kernel data. */
	if (parent != &init_task)
		check("another stack", task_stack_page(parent) + THREAD_SIZE / 2,
		      MEMORY_OTHER_STACK);
	rcu_read_unlock();
#endif
}

/**
 * check_classes() - classify memory that is known
 *
 * Return: what came out wrong, in words; empty if nothing did.
 */
const char *check_classes(void)
{
	u8 *heap = kmalloc(CHECK_BYTES, GFP_KERNEL);
	void *page = (void *)__get_free_page(GFP_KERNEL);
	void *area = vmalloc(PAGE_SIZE);
	char stack[CHECK_BYTES];

	wrong[0] = 0;
	OPTIMIZER_HIDE_VAR(heap);
	check("heap", heap, MEMORY_SLAB);
	check_embedded(heap);
	check("a page", page, MEMORY_PAGES);
	check("vmalloc memory", area, MEMORY_VMALLOC);
	check("the stack", stack, MEMORY_STACK);
	check_other_stack();
	check("module rodata", check_rodata, MEMORY_MODULE_RODATA);
	check("module data", check_data, MEMORY_MODULE_DATA);
	if (memory_knows_image())
		check("kernel data", &init_task, MEMORY_DATA);
	vfree(area);
	free_page((unsigned long)page);
	kfree(heap);
	return wrong;
}
