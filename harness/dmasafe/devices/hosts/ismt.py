# SPDX-License-Identifier: GPL-2.0-or-later
"""Intel's SMBus Message Transport (iSMT), a PCI function with a ring of descriptors: upstream i2c-ismt."""

from __future__ import annotations

from errno import EAGAIN, EIO, ENXIO, ETIMEDOUT
from struct import Struct
from typing import NamedTuple

from dmasafe.devices.bus import Nak
from dmasafe.devices.hosts.base import Carried, I2cHost
from dmasafe.devices.hosts.declaration import HostModel, Pci
from dmasafe.devices.pci import Access, Bar, Register
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-ismt.c in Linux 7.3.
POLICY = HostPolicy(
    "SMBus iSMT adapter at",
    rules=(
        # Quick commands and bytes that are sent are in the descriptor itself.
        Rule(Path.PIO, "ismt_access() 440-452", most=0),
        # priv->buffer, 48 bytes in the middle of a devm_kzalloc'ed struct, aligned to 16.
        Rule(Path.OWN, "ismt_access() 415, 605", least=1),
    ),
    nak=(Ending(ENXIO, "unmaps; nothing is copied", "632, ismt_process_desc() 366"),),
    lost=(Ending(EAGAIN, "unmaps; nothing is copied", "632, ismt_process_desc() 372"),),
    timeout=(
        Ending(
            ETIMEDOUT,
            "unmaps its buffer, then kills the transaction: until then the hardware has it",
            "632 before 635",
            unsafe=True,
        ),
    ),
    awake=(Ending(0, "has no callback for the system's sleep", "i2c-ismt.c"),),
    timeout_s=1.0,  # 628
    unmapped=EIO,  # 613
    smbus=True,
    notes=(
        "a block read maps 32 bytes for an answer of up to 33, the count included (533, 353)",
        "a block process call maps 32 bytes for up to 34 that go out (546, 548)",
        "the buffer shares its cache lines with the driver's other state (178)",
        "a word process call maps 3 bytes in both directions (510)",
    ),
)

# struct ismt_desc (157): address and direction, write length or command, read length, control, status, retry, received,
# sent, pointer.
_DESCRIPTOR = Struct("<BBBBBBBBQ")
_STATUS = Struct("<BBBB")
_STATUS_OFFSET = 4
# Control (88-94), status (97-103).
_CWRL, _BLK, _INT = 0x01, 0x04, 0x40
_SCS, _NAK, _CRC, _COL, _LPR = 0x01, 0x08, 0x10, 0x40, 0x80
# MCTRL, MSTS, GCTRL (127-140).
_SS, _MIS, _IP = 0x01, 0x20, 0x01
_KILL, _TRST, _SRST = 0x08, 0x04, 0x40
_BLOCK_MAX = 32


class _Descriptor(NamedTuple):
    """One entry of the ring, as its fields mean it."""

    address: int
    write: bytes
    reads: int
    block: bool
    pointer: int
    interrupts: bool


class Ismt(I2cHost):
    """The master's half; the target half has no driver. ``_tail`` is the descriptor that comes next."""

    vendor_id = 0x8086
    device_id = 0x1F15  # 81, Avoton
    class_code = 0x0C0500
    needs_bus_master = True
    msi = 1

    GCTRL = Register("GCTRL", 0x000, on_write="_control")  # 109
    SMTICL = Register("SMTICL", 0x008, 8)  # 110
    ERRINTMSK = Register("ERRINTMSK", 0x010)  # 111
    ERRAERMSK = Register("ERRAERMSK", 0x014)  # 112
    ERRSTS = Register("ERRSTS", 0x018, access=Access.W1C)  # 113
    ERRINFO = Register("ERRINFO", 0x01C, access=Access.RO)  # 114
    MDBA = Register("MDBA", 0x100, 8, on_write="_placed")  # 117
    MCTRL = Register("MCTRL", 0x108, on_write="_started")  # 118
    MSTS = Register("MSTS", 0x10C, access=Access.W1C)  # 119
    MDS = Register("MDS", 0x110)  # 120
    RPOLICY = Register("RPOLICY", 0x114)  # 121
    SPGT = Register("SPGT", 0x300, reset=1 << 30)  # 124, 148: 100 kHz
    bars = (Bar(0, 0x400),)

    def __init__(self) -> None:
        super().__init__()
        self._tail = 0

    def reset(self) -> None:
        super().reset()
        self._tail = 0

    def _placed(self, _value: int) -> None:
        self._tail = 0

    def _control(self, value: int) -> None:
        if value & (_KILL | _SRST | _TRST) and self.MSTS & _IP:
            self.abort()
            self.MSTS &= ~_IP
            # The driver goes on with the descriptor after the killed one (645).
            self._advance()

    def _started(self, value: int) -> None:
        if value & _SS and not self.MSTS & _IP:
            self._next()

    def _next(self) -> None:
        head = self.MCTRL >> 16 & 0xFF
        # A head beyond the ring would never be reached.
        if self._tail == head or head > self.MDS & 0xFF:
            return
        self.MSTS |= _IP
        self._perform(self._read_descriptor())

    def _advance(self) -> None:
        self._tail = (self._tail + 1) % ((self.MDS & 0xFF) + 1)

    def _read_descriptor(self) -> _Descriptor:
        raw = self.dma.read(self.MDBA + self._tail * _DESCRIPTOR.size, _DESCRIPTOR.size, control=True)
        target, length, reads, control, _status, _retry, _received, _sent, pointer = _DESCRIPTOR.unpack(raw)
        block = bool(control & _BLK)
        if control & _CWRL:
            write = bytes((length,))
        else:
            write = self.fetch(pointer, length) if length else b""
            if block and write:
                # The count of a block is the hardware's to send: the driver's buffer has none (528).
                write = write[:1] + bytes((len(write) - 1,)) + write[1:]
        quick_read = target & 1 and not length and not reads
        return _Descriptor(target >> 1, write, -1 if quick_read else reads, block, pointer, bool(control & _INT))

    def _perform(self, descriptor: _Descriptor) -> None:
        def written(carried: Carried) -> None:
            if carried.ok and descriptor.reads:
                self._receive(descriptor)
            else:
                self._complete(descriptor, carried)

        if descriptor.write or not descriptor.reads:
            self.carry(descriptor.address, False, descriptor.write, not descriptor.reads, written)
        else:
            self._receive(descriptor)

    def _receive(self, descriptor: _Descriptor) -> None:
        length = max(0, descriptor.reads)
        if descriptor.block:
            length = 1 + min(self.preview(descriptor.address, 1)[0], _BLOCK_MAX)

        def received(carried: Carried) -> None:
            if carried.ok:
                self.store(descriptor.pointer, carried.data)
            self._complete(descriptor, carried)

        self.carry(descriptor.address, True, length, True, received)

    def _complete(self, descriptor: _Descriptor, carried: Carried) -> None:
        status = _SCS if carried.ok else _COL if carried.lost else _NAK
        if self.fault.dma_error:
            status = _LPR
        received = len(carried.data) if carried.nak is Nak.NONE and descriptor.reads else 0
        at = self.MDBA + self._tail * _DESCRIPTOR.size + _STATUS_OFFSET
        self.dma.write(at, _STATUS.pack(status, 0, received, len(descriptor.write) & 0xFF), control=True)
        self._advance()
        self.MSTS = (self.MSTS & ~(0xFF0000 | _IP)) | _MIS | self._tail << 16
        if descriptor.interrupts:
            self.event()
        self._next()


HOST = HostModel(
    "ismt",
    module="i2c-ismt",
    symbol="I2C_ISMT",
    architectures=("x86_64",),
    place=Pci(),
    function=Ismt,
    policy=POLICY,
)
