# SPDX-License-Identifier: GPL-2.0-or-later
"""What an upstream I2C host driver does with a message's buffer, as data: read in the driver, each row with its line.

The model makes predictions of it, the documentation its table. It knows nothing of hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dmasafe.quirks import I2cAdapterQuirks

Version = tuple[int, int]


class Path(StrEnum):
    """Which way a message's bytes go between its buffer and the controller."""

    HELPER = "maps what i2c_get_dma_safe_msg_buf() gives: msg->buf if it is marked, else a copy"
    MAPS = "maps msg->buf itself"
    PIO = "the processor moves the bytes, nothing is mapped"
    OWN = "the processor copies to or from memory of the driver's own, which the hardware uses"
    REFUSED = "the driver returns an error before anything is transferred"


class Rule(NamedTuple):
    """Which way messages of one kind go. Of a policy's rules the first that fits a message holds.

    It fits messages of ``least`` to ``most`` bytes (None: no limit), of the direction ``reads`` and the mark ``marked``
    (I2C_M_DMA_SAFE) and with is_vmalloc_addr() as ``vmalloc``; None is any. It holds from Linux ``since`` until before
    ``until``. The processor moves the first ``before`` and the last ``after`` bytes of a message even where the rest is
    mapped. ``errno`` is what a refusal returns. ``line`` is where it is read.
    """

    path: Path
    line: str
    least: int = 0
    most: int | None = None
    reads: bool | None = None
    marked: bool | None = None
    vmalloc: bool | None = None
    before: int = 0
    after: int = 0
    errno: int = 0
    since: Version = (0, 0)
    until: Version | None = None

    def in_(self, version: Version) -> bool:
        """Whether the kernels of this version have it."""
        return self.since <= version and (self.until is None or version < self.until)

    def fits(self, length: int, reads: bool, marked: bool, vmalloc: bool) -> bool:
        """Whether a message is one of this kind."""
        if length < self.least or (self.most is not None and length > self.most):
            return False
        wanted = ((self.reads, reads), (self.marked, marked), (self.vmalloc, vmalloc))
        return all(want is None or want is given for want, given in wanted)


class Ending(NamedTuple):
    """What a driver does when a transfer does not go well: the ``errno`` for its caller, and ``what`` with the buffer.

    ``copies``: what the hardware has left in a copy of the helper's goes to the caller's buffer all the same.
    ``unsafe``: memory is given back that the hardware may still use, or is never given back.
    """

    errno: int
    what: str
    line: str
    copies: bool = False
    unsafe: bool = False
    since: Version = (0, 0)
    until: Version | None = None

    def in_(self, version: Version) -> bool:
        """Whether the kernels of this version do so."""
        return self.since <= version and (self.until is None or version < self.until)


@dataclass(frozen=True)
class HostPolicy:
    """One driver. ``adapter`` is its I2C adapter's name, without what differs by machine.

    ``maps_for`` is the device that the buffer is mapped for: the controller's own (``host``), a DMA controller
    (``dma``), or the PCI function above it (``parent``). ``smbus``: it has SMBus calls of its own and no I2C transfers.
    ``blocks``: it reads as many bytes as the slave says where that is asked for (I2C_M_RECV_LEN), by the processor.
    ``together``: one rule for all messages of a transfer, by the sum of their lengths, and with vmalloc if one of them
    is. ``pieces``: of what is mapped each so many bytes are a scatterlist of their own, with those of two tags before
    it, and all together are unmapped as one. ``leaves`` are classes of reports that may come with those of any later
    message, because mappings are never undone: what other hosts map would be reported with them. ``stale`` are classes
    that may come with those of a message that fails, because it undoes an earlier one's mapping once more.
    ``timeout_s`` is how long it waits for the hardware. ``unmapped`` is the errno for a buffer that cannot be mapped, 0
    where the processor then moves the bytes. ``nak_data`` is ``nak`` for a byte, where that differs from an address.
    ``needs`` are Kconfig symbols that only some versions need, each with the first that does. ``asks``: when its time
    is over it asks the hardware, which needs no interrupt. ``wedges``: after a read that nobody acknowledges every
    transfer fails until it is bound anew. ``gone`` is what a call gets once the driver is being unbound and somebody
    still has the adapter (nothing: it works until the last one lets go; errno 0: the unbinding itself is reported);
    ``cut``: so does the transfer under way then. ``awake``: what comes of a transfer under way when the system goes to
    sleep, where the driver does not wait for its end (errno 0: it may go well). ``notes`` are what no field says.

    ``mask_bits``: how much the device that it maps for can address. ``scatterlists``: it maps a buffer as a scatterlist
    of one entry, which no check for vmalloc() stands before. ``pairs``: a write and a read after it are mapped both
    before the first is sent. ``begun``: so many bytes of a read are on the bus before its buffer is mapped.
    ``reads_on``: it goes on reading where nobody acknowledged the address, and stores that. ``header``: so many bytes
    are before those of a write in the driver's own buffer, all of it in words of ``word`` bytes.
    ``native`` are SMBus protocols that it has beside I2C transfers, by their names in scenarios, with a buffer of its
    own; the answer of those that are ``unanswered`` does not come back: the data stay as they are, without an error.
    """

    adapter: str
    rules: tuple[Rule, ...]
    nak: tuple[Ending, ...]
    lost: tuple[Ending, ...]
    timeout: tuple[Ending, ...]
    timeout_s: float
    quirks: I2cAdapterQuirks | None = None
    maps_for: str = "host"
    smbus: bool = False
    blocks: bool = False
    together: bool = False
    pieces: int = 0
    leaves: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    unmapped: int = 0
    needs: tuple[tuple[str, Version], ...] = ()
    asks: bool = False
    wedges: bool = False
    nak_data: tuple[Ending, ...] = ()
    mask_bits: int = 64
    scatterlists: bool = False
    pairs: bool = False
    begun: int = 0
    reads_on: bool = False
    header: int = 0
    word: int = 1
    native: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    gone: tuple[Ending, ...] = ()
    cut: bool = False
    awake: tuple[Ending, ...] = ()
    notes: tuple[str, ...] = ()

    def rule(self, version: Version, length: int, reads: bool, marked: bool, vmalloc: bool) -> Rule:
        """Which way a message goes on kernels of ``version``. Raises LookupError if no rule fits."""
        for rule in self.rules:
            if rule.in_(version) and rule.fits(length, reads, marked, vmalloc):
                return rule
        raise LookupError(f"{self.adapter}: no rule for {length} bytes, reads={reads}, marked={marked}")

    def lacks(self, version: Version, has: Callable[[str], bool]) -> str | None:
        """The first symbol that is needed from some version on, and not set in this one of ``version``; or None."""
        return next((symbol for symbol, since in self.needs if since <= version and not has(symbol)), None)

    def bears(self, delay_s: float) -> bool:
        """Whether it waits for hardware that takes so long, on a busy machine too."""
        return 2 * delay_s < self.timeout_s

    def thresholds(self, version: Version) -> tuple[int, ...]:
        """Lengths in bytes at which another rule begins to hold, in order."""
        rules = [rule for rule in self.rules if rule.in_(version)]
        starts = {rule.least for rule in rules} | {rule.most + 1 for rule in rules if rule.most is not None}
        return tuple(sorted(starts - {0}))
