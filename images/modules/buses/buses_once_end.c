// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/compiler.h>
#include "once.h"

char dmasafe_once_end[1] __section(".data.once");
char dmasafe_dot_once_end[1] __section(".data..once");
