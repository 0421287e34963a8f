// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mistakes to seed into the driver: a row names one and replaces the steps that it does wrong.
 */
#include "controller.h"

/* The first row is the default. */
const struct controller_fault controller_faults[] = {
	{ "none", {} },
	{}
};
