/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Re-arming the once-only warnings of a module.
 *
 * WARN_ONCE() keeps its "already done" byte in a section of the object it was inlined into:
 * ".data..once", called ".data.once" before 6.13 (and before the stable releases that took the
 * new name over). For vmlinux, debugfs clear_warn_once zeroes the section; a module's is out
 * of its reach. The first and the last object of a module therefore place one byte each into
 * those sections, and ld -r keeps the order of the objects. Architectures whose WARN_ONCE()
 * lives in the bug table (x86 since 6.19) need none of this, nor does it hurt there.
 */
#ifndef DMASAFE_ONCE_H
#define DMASAFE_ONCE_H

extern char dmasafe_once_begin[];
extern char dmasafe_once_end[];
extern char dmasafe_dot_once_begin[];
extern char dmasafe_dot_once_end[];

#endif
