# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario is made of: buffer kinds, operations, the slaves' addresses, and Scenario itself.

Below the controllers (dmasafe/carriers), which say what they can do in these words; ids are read, and suites are put
together, in dmasafe/scenario.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from dmasafe.buses import BUS_CALLS
from dmasafe.faults import FAULTS, NO_FAULT, Fault


class BufferKind(NamedTuple):
    """Where a buffer's memory comes from. ``needs`` is the Kconfig symbol without which it cannot exist."""

    name: str
    what: str
    needs: str | None = None

    def missing(self, has: Callable[[str], bool]) -> str | None:
        """Why a kernel cannot have it, or None."""
        if self.needs is None or has(self.needs):
            return None
        return f"{self.name} needs CONFIG_{self.needs}, which this kernel does not have"


BUFFER_KINDS: dict[str, BufferKind] = {
    kind.name: kind
    for kind in (
        BufferKind("heap", "kmalloc()"),
        BufferKind("heap-unaligned", "kmalloc() plus an odd offset"),
        BufferKind("devm", "devm_kmalloc()"),
        BufferKind("struct-embedded", "an array in the middle of a kmalloc'ed struct"),
        BufferKind("kmem-cache", "kmem_cache_alloc() from a cache of its own"),
        BufferKind("pages", "alloc_pages()"),
        BufferKind("coherent", "dma_alloc_coherent()"),
        BufferKind("dma-pool", "dma_pool_alloc()"),
        BufferKind("percpu", "alloc_percpu()"),
        BufferKind("stack", "an array on the calling task's stack"),
        BufferKind("rodata", "a const object of vmlinux", needs="KALLSYMS_ALL"),
        BufferKind("data", "a .data object of vmlinux", needs="KALLSYMS_ALL"),
        BufferKind("module-data", "a static array of a module", needs="MODULES"),
        BufferKind("module-rodata", "a const array of a module", needs="MODULES"),
        BufferKind("vmalloc", "vmalloc()"),
        BufferKind("kmap", "kmap() of a highmem page", needs="HIGHMEM"),
    )
}
USER = BufferKind("user", "user space memory, copied in by i2c-dev", needs="I2C_CHARDEV")
READ_ONLY_KINDS = frozenset({"rodata", "module-rodata"})


class Operation(NamedTuple):
    """The API call under test.

    ``front`` is who makes it: ``client`` (dmasafe_client.ko), ``i2cdev`` (the agent, from user space) or ``bus``
    (dmasafe_buses.ko, on another bus than I2C proper). ``marked``
    says whether the messages carry I2C_M_DMA_SAFE; None leaves it to the scenario's ``dma_safe`` option.
    ``reads`` and ``writes`` say which way the payload goes at the caller's buffer, ``needs`` is an example of an
    option that there must be, ``weight`` how often random scenarios have it (0: never).
    """

    name: str
    front: str
    what: str
    reads: bool = False
    writes: bool = False
    marked: bool | None = None
    needs: str | None = None
    weight: int = 10

    @property
    def from_user_space(self) -> bool:
        """Whether the caller's buffer is in user space, so that its kind is USER."""
        return self.front == "i2cdev"


OPERATIONS: dict[str, Operation] = {
    op.name: op
    for op in (
        Operation("master_send", "client", "i2c_master_send()", writes=True, marked=False, weight=11),
        Operation("master_recv", "client", "i2c_master_recv()", reads=True, marked=False, weight=11),
        Operation("master_send_dmasafe", "client", "i2c_master_send_dmasafe()", writes=True, marked=True, weight=11),
        Operation("master_recv_dmasafe", "client", "i2c_master_recv_dmasafe()", reads=True, marked=True, weight=11),
        Operation(
            "transfer", "client", "i2c_transfer(): write one byte, then read into the buffer", reads=True, weight=12
        ),
        Operation(
            "get_put",
            "client",
            "i2c_get_dma_safe_msg_buf(), map, unmap, i2c_put_dma_safe_msg_buf()",
            writes=True,
        ),
        Operation("i2cdev_read", "i2cdev", "read() on /dev/i2c-N", reads=True, marked=False, weight=5),
        Operation("i2cdev_write", "i2cdev", "write() on /dev/i2c-N", writes=True, marked=False, weight=5),
        Operation(
            "i2cdev_rdwr",
            "i2cdev",
            "ioctl(I2C_RDWR)",
            reads=True,
            writes=True,
            marked=True,
            needs="messages=w1,r8",
            weight=14,
        ),
        # Block transfers are marked, byte and word transfers are not: i2c_smbus_try_get_dmabuf().
        Operation(
            "i2cdev_smbus", "i2cdev", "ioctl(I2C_SMBUS)", reads=True, writes=True, needs="protocol=byte_data", weight=16
        ),
        *(
            Operation(c.name, "bus", c.what, reads=c.reads, writes=not c.reads, marked=False, weight=0)
            for c in BUS_CALLS.values()
        ),
    )
}


# Slaves of dmasafe/devices' default bus that the suites use, and one address where nobody answers.
RECORDER_ADDRESS = 0x30
REGISTER_FILE_ADDRESS = 0x20
SMBUS_BLOCK_ADDRESS = 0x40
NAK_DATA_ADDRESS = 0x60
ABSENT_ADDRESS = 0x77

UNBIND, UNBOUND, SUSPEND = "unbind", "unbound", "suspend"
MEANWHILE = {
    UNBIND: "soon after the call has begun",
    UNBOUND: "before the call, which is on a file of i2c-dev that was open already",
    SUSPEND: "when the system has slept beside the call",
}

# drivers/i2c/i2c-dev.c clips read() and write() here and refuses longer I2C_RDWR messages.
I2CDEV_MAX_BYTES = 8192
# include/uapi/linux/i2c-dev.h, I2C_RDWR_IOCTL_MAX_MSGS.
I2CDEV_MAX_MESSAGES = 42


@dataclass(frozen=True)
class Scenario:
    """Buffer kind x operation x controller x length x address x options: one thing to do.

    ``options`` are sorted (name, value) pairs, all strings: ``dma_safe`` (0 or 1, for operations that leave it open),
    ``threshold`` (bytes), ``messages`` (I2C_RDWR: ``w8,r8``), ``protocol``, ``rd``, ``command`` and ``pec`` (SMBus),
    ``rd`` also for get_put, ``then`` (more calls on the same buffer, as STEPS spells them), ``fault`` (a mistake of
    dmasafe/faults.py that the controller's driver makes), ``hardware`` (how the emulated controller fails:
    dmasafe/devices/hosts/faults.py), ``meanwhile`` (when its driver is unbound: MEANWHILE).
    """

    buffer: str
    operation: str
    controller: str
    policy: str | None
    length: int
    address: int = RECORDER_ADDRESS
    options: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """``heap/master_send/dmasafe:bounce/8``, then ``@77`` for another address and ``+name=value`` options."""
        place = self.controller if self.policy is None else f"{self.controller}:{self.policy}"
        text = f"{self.buffer}/{self.operation}/{place}/{self.length}"
        if self.address != RECORDER_ADDRESS:
            text += f"@{self.address:02x}"
        return text + "".join(f"+{name}={value}" for name, value in self.options)

    @property
    def seed(self) -> int:
        """Seeds the bytes that are sent: the same for the same scenario, wherever it runs."""
        return zlib.crc32(self.id.encode()) & 0xFFFFFF

    def option(self, name: str, default: str = "") -> str:
        return dict(self.options).get(name, default)

    @property
    def fault(self) -> Fault | None:
        """The mistake that is seeded into the controller's driver."""
        return FAULTS.get(self.option("fault", NO_FAULT))

    @property
    def hardware(self) -> str | None:
        """The fault that the controller's hardware has."""
        return self.option("hardware") or None

    @property
    def meanwhile(self) -> str | None:
        """When the controller's driver is unbound (MEANWHILE); it is bound again afterwards."""
        return self.option("meanwhile") or None

    @property
    def with_driver_bound(self) -> Scenario:
        """The same where the driver stays."""
        return self._without("meanwhile")

    @property
    def without_fault(self) -> Scenario:
        """The same with a driver that makes no mistake."""
        return self._without("fault")

    @property
    def on_sound_hardware(self) -> Scenario:
        """The same where the hardware does not fail."""
        return self._without("hardware")

    def _without(self, name: str) -> Scenario:
        return replace(self, options=tuple(option for option in self.options if option[0] != name))

    @property
    def marked(self) -> bool:
        """Whether the payload's message carries I2C_M_DMA_SAFE when it reaches the adapter."""
        operation = OPERATIONS[self.operation]
        if operation.marked is not None:
            return operation.marked
        if self.operation == "i2cdev_smbus":
            return self.option("protocol") in SMBUS_MARKED
        return self.option("dma_safe") == "1"

    @property
    def reads(self) -> bool:
        """Whether the device is to fill the caller's buffer (for I2C_RDWR: in any message)."""
        operation = OPERATIONS[self.operation]
        if self.operation == "i2cdev_rdwr":
            return "r" in self.option("messages")
        if self.operation in ("i2cdev_smbus", "get_put"):
            return self.option("rd") == "1"
        return operation.reads


# i2c_smbus_xfer_emulated() fetches a kmalloc'ed buffer and marks it for these; the others use two arrays on the stack.
SMBUS_MARKED = frozenset({"block_data", "i2c_block_data", "block_proc_call"})


def kind_of(scenario: Scenario) -> BufferKind:
    return USER if scenario.buffer == USER.name else BUFFER_KINDS[scenario.buffer]


def make_options(words: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """A scenario's options, in their order."""
    return tuple(sorted(words.items()))


# Letters of the calls that option ``then`` appends, on the same buffer.
STEPS: dict[str, str] = {
    "s": "master_send",
    "r": "master_recv",
    "S": "master_send_dmasafe",
    "R": "master_recv_dmasafe",
}
# Operation and options of the core suite: i2c_transfer() and the helpers with and without the flag.
CORE_OPERATIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("master_send", ()),
    ("master_recv", ()),
    ("master_send_dmasafe", ()),
    ("master_recv_dmasafe", ()),
    ("transfer", (("dma_safe", "0"),)),
    ("transfer", (("dma_safe", "1"),)),
    ("get_put", (("dma_safe", "0"),)),
    ("get_put", (("dma_safe", "1"),)),
)
