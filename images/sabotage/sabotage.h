/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmasafe_sabotage: wrecks the guest that loads it, in the way that act= names. Only
 * "dmasafe selftest" puts it into an image.
 */
#ifndef DMASAFE_SABOTAGE_H
#define DMASAFE_SABOTAGE_H

int sabotage_memory(void);
int sabotage_entries(void);
int sabotage_strict_bypass(void);
int sabotage_strict_full(void);
int sabotage_strict_flood(void);
int sabotage_strict_refusals(void);
int sabotage_hostile(const char *act);

#endif
