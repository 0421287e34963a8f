# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel of an emulated x86 guest is told of its clocks, so that it measures none of them.

The time-stamp counter counts as fast as this machine's own. A guest measures it for 10 ms against the emulated PIT.
Where others want the processor too, QEMU stands still meanwhile: one guest in ten then has a clock that is 5 to 100
times too fast, most others have only ticks. The local APIC's timer is measured for 200 ms, a third of the whole boot.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import time

from dmasafe.architecture import architecture_of
from dmasafe.qemu.machines import Machine, find_machine

# A kernel that is told to rely on the counter is of an architecture that has it.
_RELIES = "tsc=reliable"
# Ticks come from the PIT, which needs no measuring. One processor needs no more, and guests have one.
_TICKS = "nolapic_timer"
# A 32-bit counter wraps within half a second at 8 GHz.
_MEASURE_S = 0.02
_WRAP_S = 0.5
_READINGS = 5
# rdtsc; ret: the low 32 bits are the result in both of x86's calling conventions.
_RDTSC = b"\x0f\x31\xc3"


def clock_words(machine: Machine, accelerator: str) -> tuple[str, ...]:
    """What the kernel of ``machine`` has to be told of its clocks; KVM has clocks of its own."""
    if accelerator.partition(",")[0] != "tcg" or _RELIES not in machine.cmdline:
        return ()
    khz = tsc_khz()
    return (_TICKS,) if khz is None else (f"tsc_early_khz={khz}", _TICKS)


@functools.cache
def tsc_khz() -> int | None:
    """The rate of this machine's counter, None where there is none or reading it is forbidden. It takes 20 ms."""
    host = architecture_of(os.uname().machine)
    if host is None or _RELIES not in find_machine(host).cmdline:
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        # SELinux's execmem.
        return None
    page.write(_RDTSC)
    code = ctypes.c_char.from_buffer(page)
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint32)(ctypes.addressof(code))

    def sample() -> tuple[int, int]:
        readings = []
        for _ in range(_READINGS):
            before, ticks, after = time.monotonic_ns(), int(rdtsc()), time.monotonic_ns()
            readings.append((after - before, before, ticks))
        return min(readings)[1:]

    for _ in range(_READINGS):
        begun, first = sample()
        time.sleep(_MEASURE_S)
        ended, last = sample()
        if ended - begun < _WRAP_S * 1e9:
            return round((last - first) % (1 << 32) * 1_000_000 / (ended - begun))
    return None
