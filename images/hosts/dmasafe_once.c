// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Re-arms the once-only warnings of other modules, which debugfs clear_warn_once does not reach and which do not do it
 * themselves (images/modules/once.h): those of upstream's drivers.
 *
 * Who loads it has read where the sections are in /sys/module/NAME/sections/, and how long in the modules' files.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#define RANGES 16

/* Address and length of each. */
static unsigned long ranges[2 * RANGES];
static unsigned int count;
module_param_array(ranges, ulong, &count, 0400);
MODULE_PARM_DESC(ranges, "address,length of each section that keeps which warnings were given");

static int rearm_set(const char *value, const struct kernel_param *param)
{
	unsigned int i;

	for (i = 0; i + 1 < count; i += 2)
		memset((void *)ranges[i], 0, ranges[i + 1]);
	return 0;
}

static const struct kernel_param_ops rearm_ops = {
	.set = rearm_set,
};
module_param_cb(rearm, &rearm_ops, NULL, 0200);
MODULE_PARM_DESC(rearm, "write anything: once-only warnings of those modules warn once more");

MODULE_DESCRIPTION("Re-arms other modules' once-only warnings");
MODULE_LICENSE("GPL");
