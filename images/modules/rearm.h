/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module parameter "rearm": any write re-arms the module's once-only warnings, see once.h.
 */
#ifndef DMASAFE_REARM_H
#define DMASAFE_REARM_H

#include <linux/moduleparam.h>
#include <linux/string.h>
#include "once.h"

static int rearm_set(const char *value, const struct kernel_param *param)
{
	memset(dmasafe_once_begin, 0, dmasafe_once_end - dmasafe_once_begin);
	memset(dmasafe_dot_once_begin, 0, dmasafe_dot_once_end - dmasafe_dot_once_begin);
	return 0;
}

static const struct kernel_param_ops rearm_ops = {
	.set = rearm_set,
};

module_param_cb(rearm, &rearm_ops, NULL, 0200);
MODULE_PARM_DESC(rearm, "write anything: once-only warnings of this module warn once more");

#endif
