// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmasafe_audit: watches every I2C message on every adapter and says what memory its buffer is.
 * The controller need not do DMA. It allocates nothing and sleeps nowhere while it watches.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include "audit.h"

#define ROWS_MIN 8u
#define ROWS_MAX 65536u

static unsigned int rows = 512;
module_param(rows, uint, 0444);
MODULE_PARM_DESC(rows, "how many different kinds of messages can be told apart (512)");

/* Not by default: under slub_debug=U ksize() writes to memory behind an object (since 6.1). */
bool audit_object_sizes;
module_param_named(object_sizes, audit_object_sizes, bool, 0444);
MODULE_PARM_DESC(object_sizes, "ask for sizes of slab objects; not with slub_debug (0)");

module_param_array_named(image, audit_image, ulong, NULL, 0444);
MODULE_PARM_DESC(image, "vmlinux's _stext,_etext,__start_rodata,__end_rodata,_sdata,_edata,__bss_start,__bss_stop");

module_param_array_named(percpu, audit_percpu, ulong, NULL, 0444);
MODULE_PARM_DESC(percpu, "vmlinux's __per_cpu_start,__per_cpu_end");

static int __init audit_init(void)
{
	int ret;

	BUILD_BUG_ON(sizeof(struct audit_key) != sizeof(long) + 8);
	ret = table_init(clamp(rows, ROWS_MIN, ROWS_MAX));
	if (ret)
		return ret;
	memory_init();
	ret = module_ranges_init();
	if (ret)
		goto no_ranges;
	ret = watch_init();
	if (ret)
		goto no_watch;
	text_init(check_classes());
	watch_set(true);
	return 0;

no_watch:
	module_ranges_exit();
no_ranges:
	table_exit();
	return ret;
}

static void __exit audit_exit(void)
{
	/* First, or somebody could begin to watch again. */
	text_exit();
	watch_exit();
	module_ranges_exit();
	table_exit();
}

module_init(audit_init);
module_exit(audit_exit);

MODULE_DESCRIPTION("Audit of I2C message buffers: may DMA touch them?");
MODULE_LICENSE("GPL");
