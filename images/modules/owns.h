/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What dmasafe_client exports to dmasafe_controller, which does without it if it is not loaded. */
#ifndef DMASAFE_OWNS_H
#define DMASAFE_OWNS_H

#include <linux/types.h>

bool dmasafe_client_owns(phys_addr_t start, size_t len);

#endif
