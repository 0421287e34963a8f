# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do: buffer kinds, operations, controllers, and the scenarios that combine them.

A bottom layer of the package. A scenario is one thing to do, with a stable id that is also how a person
names it on the command line; suites are named lists of scenarios.
"""

from __future__ import annotations

import fnmatch
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from dmasafe.buses import BUS_CALLS, BUSES
from dmasafe.errors import DmasafeError
from dmasafe.faults import FAULTS, NO_FAULT, Fault


class ScenarioError(DmasafeError):
    """A scenario, suite or option that does not exist."""


@dataclass(frozen=True)
class BufferKind:
    """Where a buffer's memory comes from. ``needs`` is the Kconfig symbol without which it cannot exist."""

    name: str
    what: str
    needs: str | None = None


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


@dataclass(frozen=True)
class Operation:
    """The API call under test.

    ``front`` is who makes it: ``client`` (dmasafe_client.ko), ``i2cdev`` (the agent, from user space) or ``bus``
    (dmasafe_buses.ko, on another bus than I2C proper). ``marked``
    says whether the messages carry I2C_M_DMA_SAFE; None leaves it to the scenario's ``dma_safe`` option.
    ``reads`` and ``writes`` say which way the payload goes at the caller's buffer, ``needs`` is an example of an
    option that there must be, ``weight`` how often random scenarios have it.
    """

    name: str
    front: str
    what: str
    reads: bool = False
    writes: bool = False
    marked: bool | None = None
    needs: str | None = None
    weight: int = 10


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
            Operation(c.name, "bus", c.what, reads=c.reads, writes=not c.reads, marked=False)
            for c in BUS_CALLS.values()
        ),
    )
}


@dataclass(frozen=True)
class Bridge:
    """A USB-to-I2C bridge: its ``device`` (dmasafe/devices/usb), the Kconfig symbol of its driver, and where it is
    plugged in: ``xhci`` or ``ehci``."""

    device: str
    needs: str
    hcd: str = "xhci"


@dataclass(frozen=True)
class OnBoard:
    """A controller that a variation of the machine has (kernel-configs/arch/): its PCI function, its driver's name and
    Kconfig symbol. Its slaves are QEMU's own, and nothing is seen from their side."""

    machine: str
    function: str
    driver: str
    needs: str


@dataclass(frozen=True)
class Controller:
    """The I2C host adapter that carries a scenario. ``policies`` is empty where the driver has none to set.

    ``on_board`` is set for those that come with the machine.

    ``bridge`` is set for those on USB; they are plugged in only where a scenario asks for them.
    """

    name: str
    what: str
    policies: tuple[str, ...] = ()
    bridge: Bridge | None = None
    on_board: OnBoard | None = None


def _on_usb(name: str, driver: str, needs: str, device: str = "", hcd: str = "xhci") -> Controller:
    where = {"xhci": "xHCI", "ehci": "EHCI"}[hcd]
    return Controller(name, f"upstream {driver} on USB, behind {where}", bridge=Bridge(device or name, needs, hcd))


POLICIES: dict[str, str] = {
    "bounce": "uses i2c_get_dma_safe_msg_buf() with a threshold",
    "flag-only": "DMA only for messages with I2C_M_DMA_SAFE, PIO otherwise",
    "trusting": "maps msg->buf whatever it is: the classic bug",
    "pio": "never maps a message buffer",
}
CONTROLLERS: dict[str, Controller] = {
    controller.name: controller
    for controller in (
        Controller("virtio", "upstream i2c-virtio on a vhost-user device"),
        Controller("dmasafe", "the harness's own controller and driver", tuple(POLICIES)),
        _on_usb("tiny-usb", "i2c-tiny-usb", "I2C_TINY_USB"),
        _on_usb("osif", "i2c-robotfuzz-osif", "I2C_ROBOTFUZZ_OSIF"),
        _on_usb("osif-ehci", "i2c-robotfuzz-osif", "I2C_ROBOTFUZZ_OSIF", device="osif", hcd="ehci"),
        _on_usb("diolan-u2c", "i2c-diolan-u2c", "I2C_DIOLAN_U2C"),
        _on_usb("viperboard", "i2c-viperboard", "I2C_VIPERBOARD"),
        _on_usb("cp2615", "i2c-cp2615", "I2C_CP2615"),
        _on_usb("dln2", "i2c-dln2", "I2C_DLN2"),
        _on_usb("mcp2221", "hid-mcp2221", "HID_MCP2221"),
        _on_usb("cp2112", "hid-cp2112", "HID_CP2112"),
        _on_usb("ft260", "hid-ft260", "HID_FT260"),
        Controller(
            "i801",
            "upstream i2c-i801 of q35's southbridge: programmed input and output, SMBus calls only",
            on_board=OnBoard("smbus", "0000:00:1f.3", "i801_smbus", "I2C_I801"),
        ),
        *(Controller(bus.name, bus.what) for bus in BUSES.values()),
    )
}

# An I2C bus that a board came with; nothing is known of the devices on it.
BOARD = Controller("board", "a bus of the board's own, named by the user")

# Slaves of dmasafe/devices' default bus that the suites use, and one address where nobody answers.
RECORDER_ADDRESS = 0x30
REGISTER_FILE_ADDRESS = 0x20
SMBUS_BLOCK_ADDRESS = 0x40
NAK_DATA_ADDRESS = 0x60
ABSENT_ADDRESS = 0x77
# Where nothing is named: most boards have their EEPROM there.
BOARD_ADDRESS = 0x50

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
    dmasafe/faults.py that the controller's driver makes).
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
    def without_fault(self) -> Scenario:
        """The same with a driver that makes no mistake."""
        return replace(self, options=tuple(option for option in self.options if option[0] != "fault"))

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


def parse_scenario(text: str) -> Scenario:
    """The scenario of an id, as :attr:`Scenario.id` writes it.

    Raises ScenarioError with one sentence that names the part that is wrong and what it could be.
    """
    head, *option_texts = text.split("+")
    parts = head.split("/")
    if len(parts) != 4:
        raise ScenarioError(
            f"'{text}' is no scenario: write BUFFER/OPERATION/CONTROLLER[:POLICY]/LENGTH, "
            "such as stack/master_send_dmasafe/dmasafe:bounce/8 (see 'dmasafe list')"
        )
    buffer, operation, place, size = parts
    controller, _, policy = place.partition(":")
    length, _, address = size.partition("@")
    _one_of("buffer kind", buffer, [*BUFFER_KINDS, USER.name])
    _one_of("operation", operation, list(OPERATIONS))
    _one_of("controller", controller, [*CONTROLLERS, BOARD.name])
    policies = CONTROLLERS[controller].policies if controller != BOARD.name else ()
    if policies:
        _one_of(f"policy of controller {controller}", policy, list(policies))
    elif policy:
        raise ScenarioError(f"controller {controller} has no policies, but '{text}' names one")
    if (OPERATIONS[operation].front == "i2cdev") != (buffer == USER.name):
        raise ScenarioError(f"in '{text}' the buffer does not fit: i2cdev_* operations, and only they, use 'user'")
    if controller == BOARD.name and OPERATIONS[operation].front != "i2cdev":
        raise ScenarioError(f"in '{text}' a bus of the board's own takes i2cdev_* operations only")
    if (OPERATIONS[operation].front == "bus") != (controller in BUSES):
        raise ScenarioError(f"in '{text}' {controller} has no {operation}: see 'dmasafe list --scenarios buses'")
    try:
        count = int(length)
        where = int(address, 16) if address else RECORDER_ADDRESS
    except ValueError:
        raise ScenarioError(f"in '{text}' the last part must be LENGTH or LENGTH@HEXADDRESS") from None
    if not 0 <= count <= 65535 or not 0 <= where <= 0x3FF:
        raise ScenarioError(f"in '{text}' the length must be 0 to 65535 and the address 0 to 3ff")
    if controller in BUSES:
        _bus_can(text, operation, controller, count)
    options = []
    for option in option_texts:
        name, separator, value = option.partition("=")
        if name not in OPTIONS or not separator or not OPTIONS[name](value):
            raise ScenarioError(f"in '{text}' the option '+{option}' is wrong: options are {', '.join(OPTIONS)}")
        if name == "fault" and not policies:
            raise ScenarioError(f"in '{text}' the fault needs the driver of controller dmasafe")
        options.append((name, value))
    needs = OPERATIONS[operation].needs
    if needs is not None and needs.partition("=")[0] not in dict(options):
        raise ScenarioError(f"in '{text}' {operation} needs an option such as '+{needs}'")
    return Scenario(buffer, operation, controller, policy or None, count, where, tuple(sorted(options)))


def _bus_can(text: str, operation: str, controller: str, length: int) -> None:
    """Raises ScenarioError if the bus has no such call, or not of that length."""
    call, bus = BUS_CALLS[operation], BUSES[controller]
    _one_of(f"call on {controller}", operation, list(bus.calls))
    most = 1 if call.single else bus.most
    if not 1 <= length <= most:
        raise ScenarioError(f"in '{text}' the length must be {'1' if most == 1 else f'1 to {most}'}")


def _one_of(what: str, value: str, values: list[str]) -> None:
    if value not in values:
        raise ScenarioError(f"there is no {what} '{value}': it is one of {', '.join(values)}")


def _rdwr_messages(text: str) -> bool:
    messages = text.split(",")
    return all(m[:1] in ("r", "w") and m[1:].isascii() and m[1:].isdigit() for m in messages)


SMBUS_PROTOCOLS = (
    "quick", "byte", "byte_data", "word_data", "proc_call", "block_data", "i2c_block_data", "block_proc_call",
)  # fmt: skip
# Letters of the calls that option ``then`` appends, on the same buffer.
STEPS: dict[str, str] = {
    "s": "master_send",
    "r": "master_recv",
    "S": "master_send_dmasafe",
    "R": "master_recv_dmasafe",
}
# Every option, with the check that its value must pass.
OPTIONS: dict[str, Callable[[str], bool]] = {
    "dma_safe": lambda value: value in ("0", "1"),
    "threshold": lambda value: value.isascii() and value.isdigit() and len(value) <= 5,
    "messages": _rdwr_messages,
    "protocol": lambda value: value in SMBUS_PROTOCOLS,
    "rd": lambda value: value in ("0", "1"),
    "command": lambda value: value.isascii() and value.isdigit() and int(value) < 256,
    "pec": lambda value: value in ("0", "1"),
    "then": lambda value: 0 < len(value) <= 3 and set(value) <= set(STEPS),
    "fault": lambda value: value in FAULTS,
}


def places() -> Iterator[tuple[str, str | None]]:
    """Every controller that is always there, with each of its policies."""
    for controller in CONTROLLERS.values():
        if controller.bridge is not None or controller.on_board is not None or controller.name in BUSES:
            continue
        for policy in controller.policies or (None,):
            yield controller.name, policy


CORE_LENGTHS = (1, 8, 32, 256)
# Operation and options of the core suite: i2c_transfer() and the helpers with and without the flag.
_CORE_OPERATIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("master_send", ()),
    ("master_recv", ()),
    ("master_send_dmasafe", ()),
    ("master_recv_dmasafe", ()),
    ("transfer", (("dma_safe", "0"),)),
    ("transfer", (("dma_safe", "1"),)),
    ("get_put", (("dma_safe", "0"),)),
    ("get_put", (("dma_safe", "1"),)),
)

# (operation, length, address, options) of the i2c-dev rows: sizes, NAK, zero length, wrong size, every SMBus protocol.
_I2CDEV_ROWS: tuple[tuple[str, int, int, dict[str, str]], ...] = (
    *(("i2cdev_read", n, RECORDER_ADDRESS, {}) for n in CORE_LENGTHS),
    *(("i2cdev_write", n, RECORDER_ADDRESS, {}) for n in CORE_LENGTHS),
    *(("i2cdev_rdwr", n, RECORDER_ADDRESS, {"messages": f"w{n}"}) for n in CORE_LENGTHS),
    *(("i2cdev_rdwr", n, RECORDER_ADDRESS, {"messages": f"r{n}"}) for n in CORE_LENGTHS),
    *(("i2cdev_rdwr", n, RECORDER_ADDRESS, {"messages": f"w{n},r{n}"}) for n in CORE_LENGTHS),
    # zero length
    ("i2cdev_write", 0, RECORDER_ADDRESS, {}),
    ("i2cdev_read", 0, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", 0, RECORDER_ADDRESS, {"messages": "w0"}),
    # the limits of i2c-dev, and one byte more
    ("i2cdev_write", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {}),
    ("i2cdev_read", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {"messages": f"w{I2CDEV_MAX_BYTES}"}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {"messages": f"r{I2CDEV_MAX_BYTES}"}),
    ("i2cdev_write", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {}),
    ("i2cdev_read", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {"messages": f"w{I2CDEV_MAX_BYTES + 1}"}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {"messages": f"r{I2CDEV_MAX_BYTES + 1}"}),
    ("i2cdev_rdwr", 1, RECORDER_ADDRESS, {"messages": ",".join(["w1"] * I2CDEV_MAX_MESSAGES)}),
    ("i2cdev_rdwr", 1, RECORDER_ADDRESS, {"messages": ",".join(["w1"] * (I2CDEV_MAX_MESSAGES + 1))}),
    # nobody there
    ("i2cdev_write", 8, ABSENT_ADDRESS, {}),
    ("i2cdev_read", 8, ABSENT_ADDRESS, {}),
    ("i2cdev_rdwr", 8, ABSENT_ADDRESS, {"messages": "w8"}),
    ("i2cdev_rdwr", 8, ABSENT_ADDRESS, {"messages": "w8,r8"}),
    ("i2cdev_smbus", 0, ABSENT_ADDRESS, {"protocol": "quick", "rd": "0"}),
    # a slave that refuses the second byte
    ("i2cdev_write", 8, NAK_DATA_ADDRESS, {}),
    # every SMBus protocol that i2c-dev offers
    ("i2cdev_smbus", 0, REGISTER_FILE_ADDRESS, {"protocol": "quick", "rd": "0"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte", "rd": "0", "command": "16"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte", "rd": "1"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "0", "command": "17"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "1", "command": "17"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "word_data", "rd": "0", "command": "18"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "word_data", "rd": "1", "command": "18"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "proc_call", "rd": "1", "command": "18"}),
    ("i2cdev_smbus", 8, REGISTER_FILE_ADDRESS, {"protocol": "i2c_block_data", "rd": "0", "command": "32"}),
    ("i2cdev_smbus", 8, REGISTER_FILE_ADDRESS, {"protocol": "i2c_block_data", "rd": "1", "command": "32"}),
    ("i2cdev_smbus", 32, REGISTER_FILE_ADDRESS, {"protocol": "i2c_block_data", "rd": "1", "command": "64"}),
    ("i2cdev_smbus", 8, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "16"}),
    ("i2cdev_smbus", 8, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "1", "command": "16"}),
    ("i2cdev_smbus", 32, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "17"}),
    ("i2cdev_smbus", 33, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "18"}),
    ("i2cdev_smbus", 0, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "18"}),
    ("i2cdev_smbus", 8, SMBUS_BLOCK_ADDRESS, {"protocol": "block_proc_call", "rd": "1", "command": "19"}),
)  # fmt: skip


def core_suite() -> list[Scenario]:
    """Buffer kinds x operations x controllers and policies x lengths; every i2c-dev operation on each of these."""
    scenarios = [
        Scenario(kind, operation, controller, policy, length, options=options)
        for controller, policy in places()
        for kind in BUFFER_KINDS
        for operation, options in _CORE_OPERATIONS
        for length in CORE_LENGTHS
    ]
    for controller, policy in places():
        for operation, length, address, options in _I2CDEV_ROWS:
            scenarios.append(
                Scenario(USER.name, operation, controller, policy, length, address, tuple(sorted(options.items())))
            )
    return scenarios


# One boot's worth of everything that can happen: each outcome, each policy, both directions, both fronts.
_SMOKE_IDS = """
heap/master_send/virtio/8
heap/master_recv/virtio/8
heap/master_send_dmasafe/virtio/32
heap/master_recv_dmasafe/virtio/32
stack/master_send/virtio/8
stack/master_send_dmasafe/virtio/8
heap/master_send/dmasafe:bounce/8
heap/master_send/dmasafe:bounce/8+threshold=32
heap/master_send_dmasafe/dmasafe:bounce/8
heap/master_recv_dmasafe/dmasafe:bounce/256
stack/master_send/dmasafe:bounce/8
stack/master_recv/dmasafe:bounce/8
stack/master_send_dmasafe/dmasafe:bounce/8
vmalloc/master_recv_dmasafe/dmasafe:bounce/32
rodata/master_send/dmasafe:bounce/8
rodata/master_recv_dmasafe/dmasafe:bounce/8
module-rodata/master_send_dmasafe/dmasafe:bounce/8
module-data/master_recv_dmasafe/dmasafe:bounce/8
coherent/master_recv_dmasafe/dmasafe:bounce/8
heap/transfer/dmasafe:bounce/8+dma_safe=1
heap/get_put/dmasafe:bounce/8+dma_safe=0
heap/master_send/dmasafe:flag-only/8
stack/master_recv/dmasafe:flag-only/8
stack/master_send/dmasafe:trusting/8
heap/master_send/dmasafe:trusting/8
heap/master_send_dmasafe/dmasafe:pio/8
user/i2cdev_read/dmasafe:bounce/8
user/i2cdev_write/dmasafe:bounce/8
user/i2cdev_rdwr/dmasafe:bounce/8+messages=w8,r8
user/i2cdev_write/dmasafe:bounce/8@77
"""


def smoke_suite() -> list[Scenario]:
    """Thirty scenarios that between them show each outcome."""
    return [parse_scenario(line) for line in _SMOKE_IDS.split()]


def faults_suite() -> list[Scenario]:
    """Every seeded fault; before them the same scenarios without, which show what is the fault's doing."""
    faulty = [parse_scenario(f"{shown}+fault={fault.name}") for fault in FAULTS.values() for shown in fault.shown_with]
    return [*dict.fromkeys(scenario.without_fault for scenario in faulty), *faulty]


# Nothing but reads, and those with a register number start at 0: a device that nobody knows must not be written to.
_BOARD_ROWS: tuple[tuple[str, int, dict[str, str]], ...] = (
    *(("i2cdev_read", n, {}) for n in (1, 8, 32)),
    *(("i2cdev_rdwr", n, {"messages": f"r{n}"}) for n in (1, 8, 32)),
    ("i2cdev_rdwr", 8, {"messages": "r8,r8"}),
    ("i2cdev_smbus", 1, {"protocol": "byte", "rd": "1"}),
    ("i2cdev_smbus", 1, {"protocol": "byte_data", "rd": "1", "command": "0"}),
    ("i2cdev_smbus", 2, {"protocol": "word_data", "rd": "1", "command": "0"}),
    ("i2cdev_smbus", 8, {"protocol": "i2c_block_data", "rd": "1", "command": "0"}),
    ("i2cdev_smbus", 32, {"protocol": "i2c_block_data", "rd": "1", "command": "0"}),
)  # fmt: skip


def board_suite(addresses: Sequence[int] = (BOARD_ADDRESS,)) -> list[Scenario]:
    """Reads through i2c-dev from devices on a board's own bus."""
    return [
        Scenario(USER.name, operation, BOARD.name, None, length, address, tuple(sorted(options.items())))
        for address in addresses
        for operation, length, options in _BOARD_ROWS
    ]


# Payload sizes on upstream's controllers. Behind xHCI 8 is the most that goes out without DMA, 9 the least with it.
_UPSTREAM_LENGTHS = {
    "virtio": (1, 8, 32),
    "osif": (1, 8, 9, 32, 256),
    "osif-ehci": (1, 8, 9, 32, 256),
}
_COPYING_LENGTHS = (8, 32)
# Drivers that write to msg->buf by the processor die of memory that is read-only, with the adapter's lock held.
_MAPPING_READS = ("osif", "osif-ehci")
_READ_ONLY = ("rodata", "module-rodata")
_UPSTREAM_I2CDEV: tuple[tuple[str, int, int, dict[str, str]], ...] = (
    ("i2cdev_write", 32, RECORDER_ADDRESS, {}),
    ("i2cdev_read", 32, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", 32, RECORDER_ADDRESS, {"messages": "w1,r32"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "0", "command": "17"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "1", "command": "17"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "word_data", "rd": "1", "command": "18"}),
    ("i2cdev_write", 8, ABSENT_ADDRESS, {}),
)  # fmt: skip


# Behind i801: QEMU's own, on which SMBus calls work and nothing else.
EEPROM_ADDRESS = 0x50
_I801_I2CDEV: tuple[tuple[str, int, dict[str, str]], ...] = (
    ("i2cdev_read", 8, {}),
    ("i2cdev_write", 8, {}),
    ("i2cdev_smbus", 1, {"protocol": "byte", "rd": "1"}),
    ("i2cdev_smbus", 1, {"protocol": "byte_data", "rd": "0", "command": "16"}),
    ("i2cdev_smbus", 1, {"protocol": "byte_data", "rd": "1", "command": "16"}),
    ("i2cdev_smbus", 2, {"protocol": "word_data", "rd": "1", "command": "16"}),
)  # fmt: skip


def upstream_suite() -> list[Scenario]:
    """Upstream's controllers: buffer kinds x i2c_transfer() and its callers x a few lengths, and what i2c-dev does."""
    scenarios = []
    for controller in CONTROLLERS.values():
        name = controller.name
        if controller.policies or controller.on_board is not None or name in BUSES:
            continue
        for kind in BUFFER_KINDS:
            for operation, options in _CORE_OPERATIONS:
                reads = OPERATIONS[operation].reads
                if operation == "get_put" or (reads and kind in _READ_ONLY and name not in _MAPPING_READS):
                    continue
                for length in _UPSTREAM_LENGTHS.get(name, _COPYING_LENGTHS):
                    scenarios.append(Scenario(kind, operation, name, None, length, options=options))
        for operation, length, address, words in _UPSTREAM_I2CDEV:
            options = tuple(sorted(words.items()))
            scenarios.append(Scenario(USER.name, operation, name, None, length, address, options))
    scenarios += [Scenario(kind, "master_send", "i801", None, 8, EEPROM_ADDRESS) for kind in BUFFER_KINDS]
    for operation, length, words in _I801_I2CDEV:
        options = tuple(sorted(words.items()))
        scenarios.append(Scenario(USER.name, operation, "i801", None, length, EEPROM_ADDRESS, options))
    # Longer than one of its USB messages: the driver goes wrong there.
    return [*scenarios, *(Scenario("heap", "master_send", "viperboard", None, length) for length in (503, 504))]


def buses_suite() -> list[Scenario]:
    """Every call on every other bus, with every buffer kind that the call can be given."""
    scenarios = []
    for bus in BUSES.values():
        for name in bus.calls:
            call = BUS_CALLS[name]
            # What reads into memory that is read-only is a processor's copy as often as not: it would oops.
            kinds = [kind for kind in call.kinds or BUFFER_KINDS if not (call.reads and kind in _READ_ONLY)]
            scenarios += [Scenario(kind, name, bus.name, None, n) for kind in kinds for n in call.lengths]
    return scenarios


SUITES: dict[str, tuple[str, Callable[[], list[Scenario]]]] = {
    "core": (
        "every buffer kind, operation, controller, policy and length; every i2c-dev operation",
        core_suite,
    ),
    "smoke": ("30 scenarios that show each outcome, for a first look", smoke_suite),
    "board": ("reads by i2c-dev on a board's own bus, named by --bus and --address", board_suite),
    "upstream": ("upstream's controllers, USB bridges among them (with --config upstream)", upstream_suite),
    "buses": ("regmap and MTD on SPI, SPMI, SLIMbus, 1-Wire (with --config upstream): who maps what?", buses_suite),
    "faults": ("every mistake that can be seeded into a driver: who notices?", faults_suite),
}


def suite(name: str) -> list[Scenario]:
    """The scenarios of a named suite; raises ScenarioError for an unknown name."""
    if name not in SUITES:
        raise ScenarioError(f"there is no suite '{name}': it is one of {', '.join(SUITES)}")
    return SUITES[name][1]()


def select(patterns: Sequence[str]) -> list[Scenario]:
    """Scenarios by id, or by shell pattern (``stack/*_dmasafe/*``), in order, without repetition.

    A pattern goes over the core suite; if nothing matches there, over the upstream suite (``stack/*/osif/*``), then
    over the buses suite. One that asks for a fault (``*+fault=free-*``) goes over the faults suite.

    Raises ScenarioError for an id that cannot be read and for a pattern that matches nothing.
    """
    chosen: dict[str, Scenario] = {}
    for pattern in patterns:
        matching = _matching(pattern) if any(c in pattern for c in "*?[") else [parse_scenario(pattern)]
        chosen.update((s.id, s) for s in matching)
    return list(chosen.values())


def _matching(pattern: str) -> list[Scenario]:
    names = ("faults",) if "+fault=" in pattern else ("core", "upstream", "buses")
    for name in names:
        matching = [s for s in suite(name) if fnmatch.fnmatchcase(s.id, pattern)]
        if matching:
            return matching
    where = " or ".join(names)
    raise ScenarioError(f"no scenario of suite {where} matches '{pattern}' (see 'dmasafe list --scenarios {names[0]}')")
