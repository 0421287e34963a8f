/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What other modules may ask of dmasafe_strict, by symbol_get(): it need not be there.
 */
#ifndef DMASAFE_STRICT_CALLS_H
#define DMASAFE_STRICT_CALLS_H

void dmasafe_strict_settle(void);
void dmasafe_strict_fail(unsigned int one_of);

#endif
