# SPDX-License-Identifier: GPL-2.0-or-later
"""How a task of the modelled kernel dies: BUG() and page faults, with the report that the architecture prints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from dmasafe.model.errors import KernelDied, KernelPanic
from dmasafe.model.layout import PAGE_SIZE
from dmasafe.model.log import CUT_HERE, KERN_ALERT, KERN_CRIT, KERN_WARNING, Death, KernelLog, Place

# arch/x86/include/asm/trap_pf.h
_PF_PROT = 1
_PF_WRITE = 2
# arch/x86/lib/memcpy_64.S: seen in guests of 6.12 and 7.2; those of 5.10 and 6.1 say __memcpy.
_MEMCPY_ORIG_SINCE = (6, 4)


class Oops:
    """Writes the last words to the log, then raises KernelDied, or KernelPanic in an interrupt."""

    def __init__(self, log: KernelLog) -> None:
        self.log = log
        self._in_interrupt = False

    @contextmanager
    def interrupt(self) -> Iterator[None]:
        """What happens in here happens in an interrupt handler: an oops is a panic."""
        self._in_interrupt = True
        try:
            yield
        finally:
            self._in_interrupt = False

    def bug(self, splat_class: str, file: str, line: int, function: str) -> NoReturn:
        """BUG(), BUG_ON(): lib/bug.c report_bug() and the architecture's die()."""
        text = f"kernel BUG at {file}:{line}!"
        lines = [(KERN_WARNING, CUT_HERE), (KERN_CRIT, text)]
        self._die(
            splat_class,
            lines,
            text,
            f"{self.log.oops_prefix}invalid opcode: 0000 [#1] SMP",
            Place(file, line, function),
        )

    def page_fault(self, address: int, write: bool, protected: bool) -> NoReturn:
        """The lines of the architecture's dialect: x86 show_fault_oops(), other architectures die_kernel_fault()."""
        log = self.log
        error = (_PF_PROT if protected else 0) | (_PF_WRITE if write else 0)
        values = {
            "address": address,
            "error": error,
            "access": "write" if write else "read",
            "cause": "permissions violation" if protected else "not-present page",
            "what": "write to read-only memory" if write and protected else "paging request",
            "prefix": log.oops_prefix,
        }
        first, *more = (text.format_map(values) for text in log.dialect.fault)
        if address < PAGE_SIZE and log.dialect.null_fault:
            first = log.dialect.null_fault.format_map(values)
        place = Place("", 0, log.dialect.memcpy if log.config.version >= _MEMCPY_ORIG_SINCE else "__memcpy")
        lines = [(KERN_ALERT, text) for text in (first, *more)]
        self._die("other", lines, first, log.dialect.oops.format_map(values), place)

    def _die(self, splat_class: str, lines: list[tuple[int, str]], text: str, title: str, place: Place) -> NoReturn:
        if self._in_interrupt:
            raise KernelPanic(f"the kernel would panic, as it would oops in an interrupt: {text}")
        symbol = f"{place.function}+0x0/0x0"
        lines += [(KERN_WARNING, title), (KERN_WARNING, "CPU: 0 PID: 35 Comm: agent")]
        lines += [(KERN_WARNING, f"RIP: 0010:{symbol}"), (KERN_WARNING, "Call Trace:")]
        lines += [(KERN_WARNING, " __i2c_transfer+0x0/0x0"), (KERN_WARNING, " i2c_transfer+0x0/0x0")]
        self.log.die(Death(splat_class, tuple(lines), text, place))
        raise KernelDied(f"the calling task died: {text}")
