# SPDX-License-Identifier: GPL-2.0-or-later
"""ModelKernel: one kernel on one machine, with adapters, a task to run in, and the kernel's functions by name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from dmasafe.carriers import CONTROLLERS
from dmasafe.carriers.drivers import BridgeDriver, Driver, PolicyDriver, QueueDriver
from dmasafe.host_policy import HostPolicy
from dmasafe.model.allocators import Allocators, SavedAllocators, Task
from dmasafe.model.bus import Bus, Slave, SlaveBus, StandardBus
from dmasafe.model.caches import DataCache
from dmasafe.model.config import Config
from dmasafe.model.controllers import POLICIES, DmasafeController, Platform, VirtioI2c
from dmasafe.model.device import DMA_BIT_MASK, Device
from dmasafe.model.dma import Dma
from dmasafe.model.dma_debug import DmaDebug, SavedDebug
from dmasafe.model.errors import ModelError
from dmasafe.model.hardware import Hardware
from dmasafe.model.hosts import HostDriver
from dmasafe.model.i2c import I2cAdapter, I2cClient, I2cCore
from dmasafe.model.i2cdev import I2cDevFile
from dmasafe.model.log import KernelLog
from dmasafe.model.memory import Memory, SavedMemory
from dmasafe.model.oops import Oops
from dmasafe.model.smbus import Smbus
from dmasafe.model.strict import Mapping as StrictMapping
from dmasafe.model.usb_bridges import UsbBridge

if TYPE_CHECKING:
    # Not everybody needs it.
    from dmasafe.model.regmap import Regmap, RegmapConfig


class SavedState(NamedTuple):
    """What ModelKernel.save() keeps."""

    memory: SavedMemory
    allocators: SavedAllocators
    stack_pointer: int
    dma_debug: SavedDebug | None
    strict: dict[int, StrictMapping] | None
    adapters: dict[str, tuple[int, int, frozenset[int]]]


def _algorithm(platform: Platform, row: Driver) -> VirtioI2c | DmasafeController | UsbBridge | HostDriver:
    """The driver of which ``row`` tells."""
    match row:
        case QueueDriver():
            return VirtioI2c(platform, row)
        case PolicyDriver():
            return DmasafeController(platform, row)
        case BridgeDriver():
            return UsbBridge(platform, row)
        case HostPolicy():
            return HostDriver(platform, row)


class ModelKernel:
    """A kernel that was just booted.

    ``slaves`` is a bus (dmasafe.devices.bus.Bus or anything like it) or slaves by address; None is what the named
    suites expect. Every adapter has the same bus. The functions of the kernel are attributes under their names, without
    the arguments that Python knows (lengths of arrays).
    """

    def __init__(self, config: Config | None = None, slaves: Bus | Mapping[int, Slave] | None = None) -> None:
        self.config = config = config or Config()
        if slaves is None:
            self.bus: Bus = StandardBus()
        else:
            self.bus = SlaveBus(slaves) if isinstance(slaves, Mapping) else slaves
        self.memory = memory = Memory(config)
        self.log = KernelLog(config, lambda: (self.task.comm, self.task.pid))
        self.oops = Oops(self.log)
        memory.fault = self.oops.page_fault
        coherent = memory.layout.coherent if config.coherent is None else config.coherent
        self.dma_coherent = coherent
        if not coherent:
            memory.cache = DataCache(memory.layout.l1_cache_bytes, memory.ram_read, memory.ram_write)
        self.allocators = Allocators(config, memory)
        self.task = Task(config, memory, self.allocators)
        self.dma_debug = DmaDebug(config, memory, self.log) if config.has("DMA_API_DEBUG") else None
        if self.dma_debug is not None:
            self.dma_debug.task = self.task
        self.dma = Dma(config, memory, self.allocators, self.log, self.dma_debug)
        if self.dma.strict is not None:
            self.dma.strict.task = self.task
        self.notes = self.dma.notes
        self.i2c = I2cCore(memory, self.allocators, self.log, self.notes)
        self.smbus = Smbus(config, memory, self.allocators, self.task, self.log, self.i2c)
        self.adapters: dict[str, I2cAdapter] = {}
        self.devices: dict[str, Device] = {}
        self.hardware: dict[str, Hardware] = {}
        self._bind_names()

    def _bind_names(self) -> None:
        """The kernel's functions by their names."""
        allocators, memory, dma, i2c, smbus = self.allocators, self.memory, self.dma, self.i2c, self.smbus
        self.kmalloc = allocators.kmalloc
        self.kzalloc = allocators.kzalloc
        self.kmemdup = allocators.kmemdup
        self.kfree = allocators.kfree
        self.vmalloc = allocators.vmalloc
        self.vfree = allocators.vfree
        self.devm_kmalloc = allocators.devm_kmalloc
        self.devm_kfree = allocators.devm_kfree
        self.alloc_pages = allocators.alloc_pages
        self.free_pages = allocators.free_pages
        self.page_address = allocators.page_address
        self.alloc_percpu = allocators.alloc_percpu
        self.free_percpu = allocators.free_percpu
        self.kmap = allocators.kmap
        self.kunmap = allocators.kunmap
        self.kmem_cache_create = allocators.kmem_cache_create
        self.kmem_cache_alloc = allocators.kmem_cache_alloc
        self.object_is_on_stack = self.task.object_is_on_stack
        self.alloca = self.task.alloca
        self.load = memory.load
        self.store = memory.store
        self.virt_to_page = memory.virt_to_page
        self.page_to_phys = memory.page_to_phys
        self.is_vmalloc_addr = memory.is_vmalloc_addr
        self.is_vmalloc_or_module_addr = memory.is_vmalloc_or_module_addr
        self.virt_addr_valid = memory.virt_addr_valid
        self.dma_map_single = dma.dma_map_single
        self.dma_unmap_single = dma.dma_unmap_single
        self.dma_map_page = dma.dma_map_page
        self.dma_unmap_page = dma.dma_unmap_page
        self.dma_map_sg = dma.dma_map_sg
        self.dma_unmap_sg = dma.dma_unmap_sg
        self.dma_mapping_error = dma.dma_mapping_error
        self.dma_alloc_coherent = dma.dma_alloc_coherent
        self.dma_free_coherent = dma.dma_free_coherent
        self.dma_pool_create = dma.dma_pool_create
        self.dma_sync_single_for_cpu = dma.dma_sync_single_for_cpu
        self.dma_sync_single_for_device = dma.dma_sync_single_for_device
        self.dma_set_mask = dma.dma_set_mask
        self.dma_set_mask_and_coherent = dma.dma_set_mask_and_coherent
        self.i2c_transfer = i2c.i2c_transfer
        self.i2c_transfer_buffer_flags = i2c.i2c_transfer_buffer_flags
        self.i2c_master_send = i2c.i2c_master_send
        self.i2c_master_recv = i2c.i2c_master_recv
        self.i2c_master_send_dmasafe = i2c.i2c_master_send_dmasafe
        self.i2c_master_recv_dmasafe = i2c.i2c_master_recv_dmasafe
        self.i2c_get_dma_safe_msg_buf = i2c.i2c_get_dma_safe_msg_buf
        self.i2c_put_dma_safe_msg_buf = i2c.i2c_put_dma_safe_msg_buf
        self.i2c_release_dma_safe_msg_buf = i2c.i2c_release_dma_safe_msg_buf
        self.i2c_check_functionality = i2c.i2c_check_functionality
        self.i2c_smbus_xfer = smbus.i2c_smbus_xfer
        self.i2c_smbus_read_byte = smbus.i2c_smbus_read_byte
        self.i2c_smbus_write_byte = smbus.i2c_smbus_write_byte
        self.i2c_smbus_read_byte_data = smbus.i2c_smbus_read_byte_data
        self.i2c_smbus_write_byte_data = smbus.i2c_smbus_write_byte_data
        self.i2c_smbus_read_word_data = smbus.i2c_smbus_read_word_data
        self.i2c_smbus_write_word_data = smbus.i2c_smbus_write_word_data
        self.i2c_smbus_read_block_data = smbus.i2c_smbus_read_block_data
        self.i2c_smbus_write_block_data = smbus.i2c_smbus_write_block_data
        self.i2c_smbus_read_i2c_block_data = smbus.i2c_smbus_read_i2c_block_data
        self.i2c_smbus_write_i2c_block_data = smbus.i2c_smbus_write_i2c_block_data

    # What the machine has.

    def device(self, name: str, driver: str | None, dma_mask: int = DMA_BIT_MASK(64)) -> Device:
        """A device that is as coherent as the machine, with coherent memory anywhere that its mask reaches."""
        dev = Device(name, driver, dma_mask, dma_coherent=self.dma_coherent)
        dev.coherent_dma_mask = dma_mask
        return dev

    def adapter(self, name: str, policy: str | None = None, threshold: int | None = None) -> I2cAdapter:
        """The adapter of a controller (``virtio``, ``dmasafe``), bound on first use, with these settings."""
        adap = self.adapters.get(name)
        if adap is None:
            adap = self._bind(name)
        if policy is not None or threshold is not None:
            algo = adap.algo
            if not isinstance(algo, DmasafeController):
                raise ModelError(f"controller {name} has no policy and no threshold to set")
            if policy is not None:
                if policy not in POLICIES:
                    raise ModelError(f"there is no policy '{policy}': it is one of {', '.join(POLICIES)}")
                algo.policy = policy
            if threshold is not None:
                algo.threshold = threshold
        return adap

    def _bind(self, name: str) -> I2cAdapter:
        row = CONTROLLERS.get(name)
        if row is None or row.model is None or row.plug is None:
            known = ", ".join(known.name for known in CONTROLLERS.values() if known.model is not None)
            raise ModelError(f"there is no controller '{name}': it is one of {known}")
        bits = row.model.mask_bits if isinstance(row.model, HostPolicy) else 64
        dev = self.devices[name] = self.device(row.plug.function, row.driver, DMA_BIT_MASK(bits))
        dev.strict = self.dma.strict is not None
        hardware = self.hardware[name] = Hardware(self.memory, self.bus, self.dma.strict)
        platform = Platform(
            self.config,
            self.memory,
            self.allocators,
            self.dma,
            self.i2c,
            self.oops,
            dev,
            hardware,
            self.object_is_on_stack,
            row.plug.hcd,
        )
        algo = _algorithm(platform, row.model)
        adap = I2cAdapter(len(self.adapters), algo.name, algo, algo.quirks)
        self.adapters[name] = adap
        return adap

    def add_adapter(self, name: str, adap: I2cAdapter) -> None:
        """i2c_add_adapter() for a driver of the caller's own."""
        self.adapters[name] = adap

    def unbind(self, name: str) -> None:
        """The controller's driver is unbound from its device: dma-debug looks for what it left mapped."""
        self.adapters.pop(name)
        dev = self.devices.pop(name)
        if self.dma.strict is not None:
            self.dma.strict.leave(dev)
        if self.dma_debug is not None:
            self.dma_debug.device_released(dev)

    def client(self, adap: I2cAdapter, addr: int, flags: int = 0) -> I2cClient:
        return I2cClient(adap, addr, flags)

    def open(self, nr: int) -> I2cDevFile:
        """open("/dev/i2c-<nr>"). Raises ModelError if there is no such adapter."""
        for adap in self.adapters.values():
            if adap.nr == nr:
                return I2cDevFile(self, adap)
        raise ModelError(
            f"there is no /dev/i2c-{nr} on the model: bind an adapter first, with kernel.adapter('dmasafe')"
        )

    def installed(self) -> AbstractContextManager[None]:
        """A context in which the smbus2 package opens the model's /dev/i2c-N instead of this machine's."""
        from dmasafe.model.smbus_door import installed

        return installed(self)

    def regmap_init_i2c(self, client: I2cClient, config: RegmapConfig) -> Regmap:
        """drivers/base/regmap/regmap-i2c.c regmap_init_i2c()."""
        from dmasafe.model.regmap import regmap_init_i2c

        return regmap_init_i2c(self, client, config)

    # A kernel that is used again.

    def save(self) -> SavedState:
        """Everything that a later restore() needs to bring back: memory, allocators, mappings, adapters, the task."""
        debug = self.dma_debug
        return SavedState(
            self.memory.save(),
            self.allocators.save(),
            self.task.stack_pointer,
            None if debug is None else debug.save(),
            None if self.dma.strict is None else self.dma.strict.save(),
            {name: (adap.retries, adap.timeout, frozenset(adap.bound)) for name, adap in self.adapters.items()},
        )

    def restore(self, state: SavedState) -> None:
        """As it was at save(); the log and the hardware begin anew, slaves keep what they hold."""
        self.memory.restore(state.memory)
        self.allocators.restore(state.allocators)
        self.task.stack_pointer = state.stack_pointer
        if self.dma_debug is not None and state.dma_debug is not None:
            self.dma_debug.restore(state.dma_debug)
        if self.dma.strict is not None and state.strict is not None:
            self.dma.strict.restore(state.strict)
        for name, (retries, timeout, bound) in state.adapters.items():
            adap = self.adapters[name]
            adap.locked = adap.suspended = False
            adap.retries, adap.timeout, adap.bound = retries, timeout, set(bound)
        for hardware in self.hardware.values():
            hardware.reset()
        self.log.reset()
        self.notes.clear()
        self.i2c.trace = None
        self.i2c.jiffies = 0

    # Odds and ends of the kernel's.

    def memdup_user(self, data: bytes) -> int:
        """mm/util.c memdup_user(): a kmalloc'ed copy."""
        address = self.allocators.kmalloc(len(data))
        if data:
            self.memory.store(address, data)
        return address

    def why(self) -> str:
        """What was decided since the last call, in order and without repetition."""
        text = "; ".join(dict.fromkeys(self.notes))
        self.notes.clear()
        return text

    def dmesg(self) -> str:
        """The log since the last read of it, as dmesg prints it."""
        return self.log.text()
