// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/i2c.h>
#include <linux/module.h>

static int offset;
module_param(offset, int, 0444);
MODULE_PARM_DESC(offset, "added to what the chip says, in 1/1000 degrees");
static char *label = "none";
module_param(label, charp, 0444);
MODULE_PARM_DESC(label, "of no use");

int thermo_core_convert(int raw)
{
	return raw * 1000 / 256 + offset;
}
EXPORT_SYMBOL_GPL(thermo_core_convert);

MODULE_DESCRIPTION("Test of dmasafe: a module that another needs");
MODULE_LICENSE("GPL");
