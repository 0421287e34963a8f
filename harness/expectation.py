# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's source says must happen: scenario and kernel configuration in, Expectation out.

Three tables are joined: what memory a buffer kind is, which path a controller driver sends it along, and what
that path does with that memory. Each row carries the reason from the source. The model takes over these
predictions (see docs/architecture.md); until then these rows are written by hand for x86.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harness.expectation_faults import OVERLAP_NEEDS_ALIGNMENT, OVERLAP_REPORTED, expect_fault
from harness.outcome import Expectation, Outcome, Skip
from harness.scenario import (
    ABSENT_ADDRESS,
    BUFFER_KINDS,
    I2CDEV_MAX_BYTES,
    I2CDEV_MAX_MESSAGES,
    NAK_DATA_ADDRESS,
    OPERATIONS,
    Scenario,
)

I2C_SMBUS_BLOCK_MAX = 32
# __i2c_smbus_xfer() checks the size of a block write in 7.2 and, backported, in Debian's 6.12.117 and 6.1.192; not yet
# in 6.1.176 and 5.10.223.
EMPTY_BLOCK_REFUSED = (6, 1, 192)
_CACHE_ALIGNING = frozenset({"aarch64", "armv7l"})
# drivers/i2c/busses/i2c-virtio.c queues a whole transfer at once; QEMU's vhost-user-i2c has a ring of 4 entries.
VIRTIO_QUEUE_ENTRIES = 4


@dataclass(frozen=True)
class KernelFacts:
    """What an expectation depends on: ``arch`` as uname has it, ``version`` (6, 12, 117), ``symbols`` set to y or m."""

    arch: str
    version: tuple[int, ...]
    symbols: frozenset[str]

    def has(self, symbol: str) -> bool:
        return symbol in self.symbols


class Memory(Enum):
    """What a buffer's address is to the DMA API."""

    LINEAR = "in the linear map, of its own"
    DMA_TRACKED = "in the linear map, already under a coherent mapping"
    LINEAR_STACK = "the current task's stack in the linear map"
    VMALLOC = "in vmalloc space"
    MODULE = "in module space"
    IMAGE_DATA = "in vmlinux's .data"
    IMAGE_RODATA = "in vmlinux's .rodata"


class Path(Enum):
    """How a controller driver gets a message's bytes to the hardware."""

    PIO = "copied by the CPU through the controller's own buffer"
    BOUNCE = "copied to a kmalloc'ed bounce buffer, which is mapped"
    SINGLE = "dma_map_single() on the caller's buffer"
    SG = "sg_init_one() on the caller's buffer, then dma_map_page()"


_MEMORY: dict[str, Memory] = {
    "heap": Memory.LINEAR,
    "heap-unaligned": Memory.LINEAR,
    "devm": Memory.LINEAR,
    "struct-embedded": Memory.LINEAR,
    "kmem-cache": Memory.LINEAR,
    "pages": Memory.LINEAR,
    # mm/percpu.c: the first chunk, embedded in the linear map on x86_64 SMP, has room for small allocations.
    "percpu": Memory.LINEAR,
    "coherent": Memory.DMA_TRACKED,
    # mm/dmapool.c cuts its blocks out of dma_alloc_coherent() pages.
    "dma-pool": Memory.DMA_TRACKED,
    "vmalloc": Memory.VMALLOC,
    "module-data": Memory.MODULE,
    "module-rodata": Memory.MODULE,
    "data": Memory.IMAGE_DATA,
    "rodata": Memory.IMAGE_RODATA,
}
READ_ONLY_KINDS = frozenset({"rodata", "module-rodata"})


def memory_of(kind: str, kernel: KernelFacts) -> Memory:
    """What memory a buffer kind is on this kernel."""
    if kind == "stack":
        return Memory.VMALLOC if kernel.has("VMAP_STACK") else Memory.LINEAR_STACK
    return _MEMORY[kind]


def path_of(scenario: Scenario) -> Path:
    """Which way the controller's driver sends the payload of this scenario."""
    if scenario.controller == "virtio":
        # drivers/i2c/busses/i2c-virtio.c: i2c_get_dma_safe_msg_buf(&msgs[i], 1), then sg_init_one().
        return Path.SG if scenario.marked else Path.BOUNCE
    # An SMBus block takes its command and count to the bus, also when it is empty.
    on_the_bus = scenario.length + 2 if scenario.operation == "i2cdev_smbus" else scenario.length
    long_enough = on_the_bus >= int(scenario.option("threshold", "1"))
    match scenario.policy:
        case "trusting":
            return Path.SINGLE
        case "bounce" if long_enough:
            return Path.SINGLE if scenario.marked else Path.BOUNCE
        case "flag-only" if long_enough and scenario.marked:
            return Path.SINGLE
        case _:
            return Path.PIO


@dataclass(frozen=True)
class _Row:
    """One rule: ``debug`` is what dma-debug reports, ``outcome`` what happens where nothing reports."""

    outcome: Outcome
    why: str
    classes: tuple[str, ...] = ()
    direct: bool | None = True
    destructive: bool = False


_DMA_DEBUG = "DMA_API_DEBUG"
_SAFE_DIRECT = _Row(Outcome.SAFE, "memory in the linear map has a struct page and DMA reaches it")


def _mapped(memory: Memory, path: Path, kernel: KernelFacts, reads: bool, read_only: bool) -> _Row:
    """What mapping a buffer of this memory does, on the way ``path`` (SINGLE or SG)."""
    debug = kernel.has(_DMA_DEBUG)
    if memory is Memory.LINEAR:
        return _SAFE_DIRECT
    if memory is Memory.IMAGE_DATA:
        return _Row(Outcome.SAFE, "virt_to_page() knows the kernel image, and DMA reaches it")
    if memory is Memory.IMAGE_RODATA:
        if reads:
            # check_for_illegal_area() compares linear-map addresses with image addresses: they never meet on x86_64.
            return _Row(Outcome.SILENT, "the device overwrites rodata: dma-debug does not recognise it on x86_64")
        return _Row(Outcome.SAFE, "the device may read vmlinux's rodata; dma-debug does not recognise it on x86_64")
    if memory is Memory.LINEAR_STACK:
        if debug:
            return _Row(Outcome.CAUGHT, "check_for_stack() finds the page on the task's stack", ("map-stack",))
        return _Row(Outcome.SAFE, "a stack in the linear map works on a coherent machine, and nothing reports it")
    if memory is Memory.DMA_TRACKED:
        if debug and reads and _overlap_reported(kernel):
            # active_cacheline_insert() leaves out DMA_TO_DEVICE mappings.
            why = "the coherent allocation already holds these cache lines in dma-debug's tracker"
            return _Row(Outcome.CAUGHT, why, ("cacheline-overlap",))
        return _Row(Outcome.SAFE, "coherent memory in the linear map can be mapped again on a coherent machine")
    if path is Path.SINGLE:
        if memory is Memory.VMALLOC:
            why = "dma_map_single() rejects vmalloc addresses with a warning"
            return _Row(Outcome.CAUGHT, why, ("map-vmalloc-rejected",), direct=None)
        if debug:
            why = "debug_dma_map_single() finds virt_addr_valid() false for module space; the address is stray"
            return _Row(Outcome.CAUGHT, why, ("map-invalid-area",), direct=None)
        return _Row(Outcome.SILENT, "virt_to_page() of a module address is nonsense and nobody looks", direct=None)
    if kernel.has("DEBUG_SG"):
        why = "sg_set_buf() has BUG_ON(!virt_addr_valid()) under DEBUG_SG; the adapter's lock stays held"
        return _Row(Outcome.CAUGHT, why, ("sg-virt-invalid",), direct=None, destructive=True)
    return _Row(Outcome.SILENT, "sg_init_one() computes a nonsense page and nobody looks: stray DMA", direct=None)


def _overlap_reported(kernel: KernelFacts) -> bool:
    """Whether add_dma_entry() reports a second mapping of a cache line."""
    if kernel.version >= OVERLAP_NEEDS_ALIGNMENT and kernel.arch not in _CACHE_ALIGNING:
        return False
    return kernel.version >= OVERLAP_REPORTED


def _row(scenario: Scenario, kernel: KernelFacts) -> _Row:
    """The rule for a scenario of the client module's."""
    memory = memory_of(scenario.buffer, kernel)
    read_only = scenario.buffer in READ_ONLY_KINDS
    if scenario.operation == "get_put":
        if not scenario.marked:
            return _Row(Outcome.SAFE, "the helper copies an unmarked buffer to a bounce buffer", direct=False)
        return _mapped(memory, Path.SINGLE, kernel, scenario.reads, read_only)
    path = path_of(scenario)
    if path in (Path.SINGLE, Path.SG):
        return _mapped(memory, path, kernel, scenario.reads, read_only)
    if scenario.reads and read_only:
        # mark_rodata_ro() and module_enable_rodata_ro(): the CPU's own copy back faults, under the adapter's lock.
        return _Row(
            Outcome.CAUGHT, "the CPU's copy into read-only memory faults", ("other",), direct=False, destructive=True
        )
    return _Row(Outcome.SAFE, f"the payload is {path.value}", direct=False)


def _i2cdev_row(scenario: Scenario, kernel: KernelFacts) -> _Row:
    """The rule for a scenario from user space: drivers/i2c/i2c-dev.c and i2c_smbus_xfer_emulated()."""
    path = path_of(scenario)
    through = path in (Path.SINGLE, Path.SG)
    if scenario.operation == "i2cdev_rdwr":
        messages = scenario.option("messages").split(",")
        if len(messages) > I2CDEV_MAX_MESSAGES:
            return _Row(Outcome.REFUSED, "I2C_RDWR takes I2C_RDWR_IOCTL_MAX_MSGS messages at the most", direct=None)
        if scenario.length > I2CDEV_MAX_BYTES:
            return _Row(Outcome.REFUSED, "I2C_RDWR refuses messages of more than 8192 bytes", direct=None)
        if scenario.controller == "virtio" and len(messages) > VIRTIO_QUEUE_ENTRIES:
            return _Row(Outcome.REFUSED, "i2c-virtio sends as many messages as its queue has room for", direct=None)
    if scenario.address in (ABSENT_ADDRESS, NAK_DATA_ADDRESS):
        return _Row(Outcome.REFUSED, "the slave does not acknowledge", direct=None)
    if scenario.operation == "i2cdev_smbus":
        return _smbus_row(scenario, kernel, through)
    if scenario.length == 0:
        return _Row(Outcome.SAFE, "no byte, no buffer", direct=None)
    if scenario.operation == "i2cdev_rdwr":
        why = "I2C_RDWR copies to kmalloc'ed memory and sets I2C_M_DMA_SAFE"
    else:
        why = "read() and write() copy to kmalloc'ed memory, but do not set I2C_M_DMA_SAFE"
    return _Row(Outcome.SAFE, f"{why}: the payload goes by {path.name}", direct=through)


def _smbus_row(scenario: Scenario, kernel: KernelFacts, through: bool) -> _Row:
    """SMBus over I2C: i2c_smbus_xfer_emulated() in drivers/i2c/i2c-core-smbus.c."""
    protocol, reads = scenario.option("protocol"), scenario.reads
    if protocol == "quick":
        return _Row(Outcome.SAFE, "no byte, no buffer", direct=None)
    if protocol in ("block_data", "i2c_block_data") and not reads and scenario.length > I2C_SMBUS_BLOCK_MAX:
        return _Row(Outcome.REFUSED, "a block has 32 bytes at the most", direct=None)
    if protocol == "block_data" and not reads and scenario.length == 0 and kernel.version >= EMPTY_BLOCK_REFUSED:
        return _Row(Outcome.REFUSED, "__i2c_smbus_xfer() refuses an empty block", direct=None)
    if scenario.controller == "virtio" and reads and protocol in ("block_data", "block_proc_call"):
        # I2C_M_RECV_LEN is not looked at: one byte is transferred, the rest is what kzalloc() left. I2C_FUNC_* does
        # not offer these protocols, but i2c-dev does not ask.
        return _Row(Outcome.SILENT, "i2c-virtio ignores I2C_M_RECV_LEN: the caller gets bytes nobody sent", direct=None)
    # Marked blocks live in kmalloc'ed memory. Everything else is two arrays on the stack, also the command byte that
    # is written before a block is read.
    command_on_stack = not scenario.marked or (reads and protocol != "block_proc_call")
    if scenario.policy == "trusting" and command_on_stack:
        stack = _mapped(memory_of("stack", kernel), Path.SINGLE, kernel, reads, False)
        return _Row(stack.outcome, f"byte and word buffers lie on the stack: {stack.why}", stack.classes, stack.direct)
    what = "is kmalloc'ed and marked" if scenario.marked else "lies on the stack and is not marked"
    return _Row(Outcome.SAFE, f"the payload {what}", direct=through)


def expect(scenario: Scenario, kernel: KernelFacts) -> Expectation | Skip:
    """What must happen to this scenario on this kernel, or why it cannot exist there."""
    kind = BUFFER_KINDS.get(scenario.buffer)
    if kind is not None and kind.needs is not None and not kernel.has(kind.needs):
        return Skip(f"{kind.name} needs CONFIG_{kind.needs}, which this kernel does not have")
    if scenario.controller == "virtio" and not kernel.has("I2C_VIRTIO"):
        return Skip("i2c-virtio came with Linux 5.15; this kernel does not have CONFIG_I2C_VIRTIO")
    fault = scenario.fault
    if fault is not None:
        plain = scenario.without_fault
        if plain.id not in fault.shown_with:
            return Skip(f"what must come of fault {fault.name} is known for {' and '.join(fault.shown_with)} only")
        return expect_fault(fault.name, scenario.reads, kernel.version, kernel.has)
    front = OPERATIONS[scenario.operation].front
    row = _i2cdev_row(scenario, kernel) if front == "i2cdev" else _row(scenario, kernel)
    return Expectation(row.outcome, row.why, row.classes, row.direct, row.destructive)
