# SPDX-License-Identifier: GPL-2.0-or-later
"""How a task of the modelled kernel dies: BUG() and page faults, with the report that the architecture prints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from dmasafe.model.errors import KernelDied, KernelPanic
from dmasafe.model.log import CUT_HERE, KERN_ALERT, KERN_CRIT, KERN_WARNING, Death, KernelLog, Place

# arch/x86/include/asm/trap_pf.h
_X86_PF_PROT = 1
_X86_PF_WRITE = 2
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
        self._die(splat_class, lines, text, self.log.oops_title("invalid opcode", 0), Place(file, line, function))

    def page_fault(self, address: int, write: bool, protected: bool) -> NoReturn:
        """arch/x86/mm/fault.c show_fault_oops(); other architectures word it otherwise (die_kernel_fault())."""
        error = (_X86_PF_PROT if protected else 0) | (_X86_PF_WRITE if write else 0)
        place = Place("", 0, "memcpy_orig" if self.log.config.version >= _MEMCPY_ORIG_SINCE else "__memcpy")
        arch = self.log.config.arch
        if arch.startswith("riscv"):
            text = f"Unable to handle kernel paging request at virtual address {address:016x}"
            self._die("other", [(KERN_ALERT, text)], text, "Oops [#1]", Place("", 0, "__memcpy"))
        if not arch.startswith(("x86", "i", "amd64")):
            what = "write to read-only memory" if write and protected else "paging request"
            text = f"Unable to handle kernel {what} at virtual address {address:016x}"
            self._die("other", [(KERN_ALERT, text)], text, f"Internal error: Oops: {error:016x} [#1] SMP", place)
        text = f"BUG: unable to handle page fault for address: {address:016x}"
        if address < 4096:
            text = f"BUG: kernel NULL pointer dereference, address: {address:016x}"
        access = "write access" if write else "read access"
        lines = [
            (KERN_ALERT, text),
            (KERN_ALERT, f"#PF: supervisor {access} in kernel mode"),
            (
                KERN_ALERT,
                f"#PF: error_code(0x{error:04x}) - {'permissions violation' if protected else 'not-present page'}",
            ),
        ]
        self._die("other", lines, text, self.log.oops_title("Oops", error), place)

    def _die(self, splat_class: str, lines: list[tuple[int, str]], text: str, title: str, place: Place) -> NoReturn:
        if self._in_interrupt:
            raise KernelPanic(f"the kernel would panic, as it would oops in an interrupt: {text}")
        symbol = f"{place.function}+0x0/0x0"
        lines += [(KERN_WARNING, title), (KERN_WARNING, "CPU: 0 PID: 35 Comm: agent")]
        lines += [(KERN_WARNING, f"RIP: 0010:{symbol}"), (KERN_WARNING, "Call Trace:")]
        lines += [(KERN_WARNING, " __i2c_transfer+0x0/0x0"), (KERN_WARNING, " i2c_transfer+0x0/0x0")]
        self.log.die(Death(splat_class, tuple(lines), text, place))
        raise KernelDied(f"the calling task died: {text}")
