# SPDX-License-Identifier: GPL-2.0-or-later
"""Controllers on other buses than I2C: which buffer the subsystem hands to each, and what must come of mapping it.

The first is a table of rows, each with the kernel's function that decides; they read the same in 6.12 and 7.2. The
second is the model's, which knows what dma_map_single() makes of each kind of memory, or for SPI's core a short rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import partial
from typing import NamedTuple

from dmasafe.buses import BUS_CALLS
from dmasafe.carriers.controller import Controller, Predict, Record, Where
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.vocabulary import BUFFER_KINDS, READ_ONLY_KINDS, Scenario, kind_of

SUITE = "buses"

# What images/modules/Kbuild asks for before it builds dmasafe_buses.ko.
NEEDS = ("REGMAP_I2C", "REGMAP_SPI", "REGMAP_SPMI", "REGMAP_SLIMBUS", "REGMAP_W1", "MTD_SPI_NOR")
_EINVAL, _ENOTSUPP = 22, 524


class Handed(Enum):
    """What the controller is given."""

    CALLER = "the caller's buffer"
    COPY = "a copy on the heap"
    STACK = "a variable on the subsystem's own stack"
    VALUE = "bytes, and no buffer"
    OTHERS = "buffers of a file system's"
    NOTHING = "nothing: the call is refused"


class Way(NamedTuple):
    """``handed`` to the controller because of ``source``, a function of the kernel's; ``error`` where it is refused.

    ``checked``: spi-nor looks at the buffer first, and copies what it does not like.
    """

    handed: Handed
    source: str
    error: int = 0
    checked: bool = False


_WORK_BUF = Way(Handed.COPY, "regmap.c:_regmap_raw_write_impl(): the value is in work_buf")
_READ_ONE = Way(Handed.COPY, "regmap.c:_regmap_bus_read(): the value is read into work_buf")
_LINEAR = Way(Handed.COPY, "regmap.c:_regmap_raw_write_impl(): no gather_write(), so register and value are copied")
_BULK = Way(Handed.COPY, "regmap.c:regmap_bulk_write(): kmemdup() before regmap_raw_write()")
_GATHER_SPI = Way(Handed.CALLER, "regmap-spi.c:regmap_spi_gather_write(): a transfer of its own")
_READ_SPI = Way(Handed.COPY, "spi.c:spi_write_then_read(): a buffer of its own")
_GATHER_SPMI = Way(Handed.CALLER, "regmap-spmi.c:regmap_spmi_ext_gather_write(): pieces of 16 bytes")
_READ_SPMI = Way(Handed.CALLER, "regmap-spmi.c:regmap_spmi_ext_read(): pieces of 16 bytes")
_BYTES_SPMI = Way(Handed.STACK, "spmi.c:spmi_register_write(): &data of its argument")
_READ_SPMI_BASE = Way(Handed.CALLER, "regmap-spmi.c:regmap_spmi_base_read(): byte by byte")
_READ_SLIM = Way(Handed.CALLER, "regmap-slimbus.c:regmap_slimbus_read()")
_READ_I2C = Way(Handed.CALLER, "regmap-i2c.c:regmap_i2c_read(): not marked DMA-safe, which this controller ignores")
_VALUES = Way(Handed.VALUE, "regmap-w1.c:w1_reg_a8_v8_read() and _write(): w1_read_8(), w1_write_8()")
_NO_WRITE = Way(Handed.NOTHING, "regmap.c: a bus with reg_write() only", _EINVAL)
_NO_READ = Way(Handed.NOTHING, "regmap.c: a bus with reg_read() only", _ENOTSUPP)
_MATCH_ROM = Way(Handed.STACK, "w1_io.c:w1_reset_select_slave(): u8 match[9], with more than one slave")
_DIRECT = "the API's own argument"
_SPI_NOR = Way(
    Handed.CALLER, "spi-nor/core.c:spi_nor_spimem_bounce(): unless on the stack or not virt_addr_valid()", checked=True
)


def _regmap(write: Way, read: Way, bulk: Way = _BULK, one: Way = _WORK_BUF) -> dict[str, Way]:
    """regmap's rows on a bus, by what its raw accesses do."""
    return {
        "regmap_write": one,
        "regmap_read": _READ_ONE,
        "regmap_raw_write": write,
        "regmap_raw_read": read,
        "regmap_bulk_write": bulk,
        "regmap_bulk_read": read,
        "regmap_noinc_write": write,
        "regmap_noinc_read": read,
    }


_FILE = Way(Handed.OTHERS, "the page cache takes the caller's, file system and spi-nor see to the rest")
_MTD = {
    "mtd_write": _SPI_NOR,
    "mtd_read": _SPI_NOR,
    **dict.fromkeys(("jffs2_write", "jffs2_read", "ubifs_write", "ubifs_read"), _FILE),
}
_SPI = {
    **_regmap(_GATHER_SPI, _READ_SPI),
    "regmap_read": _READ_SPI,
    "spi_write": Way(Handed.CALLER, f"spi.h:spi_write(): {_DIRECT}"),
    "spi_read": Way(Handed.CALLER, f"spi.h:spi_read(): {_DIRECT}"),
    "spi_write_then_read": _READ_SPI,
    **_MTD,
}


class Bus(NamedTuple):
    """A controller on another bus: the calls that reach it, and the longest payload that it is good for, in bytes.

    ``core_maps``: spi_map_buf() maps, page by page, where dma_map_single() would refuse or go wrong. ``core_syncs``:
    __spi_map_msg() maps messages, to sync them by itself afterwards.
    """

    name: str
    what: str
    ways: Mapping[str, Way]
    most: int
    core_maps: bool = False
    core_syncs: bool = False


_SPMI = {
    **_regmap(_GATHER_SPMI, _READ_SPMI),
    "spmi_ext_register_write": Way(Handed.CALLER, f"spmi.c:spmi_ext_register_write(): {_DIRECT}"),
    "spmi_ext_register_read": Way(Handed.CALLER, f"spmi.c:spmi_ext_register_read(): {_DIRECT}"),
}
_SPMI_BASE = {
    **_regmap(_BYTES_SPMI, _READ_SPMI_BASE, bulk=_BYTES_SPMI, one=_BYTES_SPMI),
    "spmi_register_write": _BYTES_SPMI,
    "spmi_register_read": Way(Handed.CALLER, f"spmi.c:spmi_register_read(): {_DIRECT}"),
}
_SLIMBUS = {
    **_regmap(_LINEAR, _READ_SLIM),
    "slim_write": Way(Handed.CALLER, f"slimbus/messaging.c:slim_write(): {_DIRECT}"),
    "slim_read": Way(Handed.CALLER, f"slimbus/messaging.c:slim_read(): {_DIRECT}"),
    "slim_writeb": Way(Handed.STACK, "slimbus/messaging.c:slim_writeb(): &value of its argument"),
    "slim_readb": Way(Handed.STACK, "slimbus/messaging.c:slim_readb(): u8 buf"),
}
_W1 = {
    "regmap_write": _VALUES,
    "regmap_read": _VALUES,
    "regmap_raw_write": _NO_WRITE,
    "regmap_raw_read": _NO_READ,
    "regmap_bulk_write": _VALUES,
    "regmap_bulk_read": _VALUES,
    "regmap_noinc_write": _NO_WRITE,
    "regmap_noinc_read": _NO_READ,
    "w1_write_block": Way(Handed.CALLER, f"w1_io.c:w1_write_block(): {_DIRECT}"),
    "w1_read_block": Way(Handed.CALLER, f"w1_io.c:w1_read_block(): {_DIRECT}"),
}
_W1_PAIR = dict.fromkeys(("regmap_write", "regmap_read", "regmap_bulk_write"), _MATCH_ROM)
BUSES: dict[str, Bus] = {
    bus.name: bus
    for bus in (
        Bus("bus-i2c", "an I2C adapter that maps msg->buf whatever it is", _regmap(_LINEAR, _READ_I2C), 8192),
        Bus(
            "bus-spi",
            "a SPI controller with can_dma(): the SPI core maps for it",
            _SPI,
            8192,
            core_maps=True,
            core_syncs=True,
        ),
        Bus("bus-spi-own", "a SPI controller that maps transfers itself", _SPI, 8192),
        Bus(
            "bus-spi-mem",
            "a SPI controller for flashes, with the SPI core's mapping helper",
            _MTD,
            8192,
            core_maps=True,
        ),
        Bus("bus-spmi", "a SPMI controller that maps; regmap uses extended commands", _SPMI, 16),
        Bus("bus-spmi-base", "a SPMI controller that maps; regmap uses base commands", _SPMI_BASE, 16),
        Bus("bus-slimbus", "a SLIMbus controller that maps", _SLIMBUS, 16),
        Bus("bus-w1", "a 1-Wire master with one slave: bytes without DMA, blocks are mapped", _W1, 128),
        Bus("bus-w1-pair", "the same with two slaves", _W1_PAIR, 128),
    )
}
_MODULE_SPACE = ("module-data", "module-rodata")
# What spi_nor_spimem_bounce() does not let through.
_BOUNCED = ("stack", "vmalloc", *_MODULE_SPACE)


def way_of(bus: Bus, scenario: Scenario) -> Way:
    """What the subsystem does with this scenario's buffer."""
    way = bus.ways[scenario.operation]
    # regmap copies the value of a single register, so that there is one buffer to write.
    if way in (_GATHER_SPI, _GATHER_SPMI) and scenario.length == 1:
        return _WORK_BUF
    if way.checked and scenario.buffer in _BOUNCED:
        return way._replace(handed=Handed.COPY)
    return way


def _expects(bus: Bus, scenario: Scenario, kernel: KernelFacts, predict: Predict) -> Expectation | Skip:
    """What must happen to a scenario on this bus."""
    absent = CONTROLLERS[bus.name].missing(kernel.has) or kind_of(scenario).missing(kernel.has)
    if absent is not None:
        return Skip(absent)
    way = way_of(bus, scenario)
    why = f"the controller gets {way.handed.value} ({way.source})"
    match way.handed:
        case Handed.NOTHING:
            return Expectation(Outcome.REFUSED, f"{why}: errno {way.error}")
        case Handed.VALUE | Handed.OTHERS:
            return Expectation(Outcome.SAFE, why)
        case Handed.COPY:
            return Expectation(Outcome.SAFE, why, direct=False)
        case Handed.STACK:
            return _joined(why, _mapped(bus, scenario, "stack", kernel, predict)._replace(direct=False))
        case Handed.CALLER:
            return _joined(why, _mapped(bus, scenario, scenario.buffer, kernel, predict))


def _joined(why: str, expectation: Expectation) -> Expectation:
    return expectation._replace(why=f"{why}; {expectation.why}")


def _mapped(bus: Bus, scenario: Scenario, kind: str, kernel: KernelFacts, predict: Predict) -> Expectation:
    """What comes of mapping memory of this kind on the scenario's controller."""
    if bus.core_maps:
        by_core = _mapped_by_core(kind, kernel)
        if by_core is not None:
            return by_core
    operation = "master_recv_dmasafe" if BUS_CALLS[scenario.operation].reads else "master_send_dmasafe"
    # This controller maps as they all do: the model has done it for I2C.
    twin = Scenario(kind, operation, "dmasafe", "trusting", min(scenario.length, 256))
    predicted = predict(twin, kernel)
    assert isinstance(predicted, Expectation), f"the model cannot map {kind}"
    if bus.core_syncs and predicted.classes == ("cacheline-overlap",):
        why = "spi.c:__spi_map_msg(): DMA_ATTR_SKIP_CPU_SYNC, so debug.c:add_dma_entry() tells of no overlap"
        return Expectation(Outcome.SAFE, why, direct=True)
    return predicted


def _mapped_by_core(kind: str, kernel: KernelFacts) -> Expectation | None:
    """Where spi_map_buf() does otherwise than dma_map_single()."""
    if kind in _MODULE_SPACE:
        return Expectation(Outcome.REFUSED, f"spi.c:spi_map_buf(): not virt_addr_valid(), errno {_EINVAL}")
    if kind == "vmalloc":
        return Expectation(Outcome.SAFE, "spi.c:spi_map_buf(): vmalloc_to_page(), page by page", direct=True)
    if kind == "stack":
        why = "spi.c:spi_map_buf(): maps a stack's pages as any other"
        if kernel.strict_line:
            return Expectation(Outcome.CAUGHT, f"{why}; strict_memory.c:is_on_stack()", ("strict-memory",))
        if kernel.has("DMA_API_DEBUG"):
            return Expectation(Outcome.CAUGHT, f"{why}; debug.c:check_for_stack()", ("map-stack",), True)
        return Expectation(Outcome.SAFE, why, direct=True)
    return None


def _scenarios(bus: Bus) -> Iterator[Scenario]:
    """Every call, with every buffer kind that it can be given."""
    for name in bus.ways:
        call = BUS_CALLS[name]
        for kind in call.kinds or BUFFER_KINDS:
            # What reads into memory that is read-only is a processor's copy as often as not: it would oops.
            if not (call.reads and kind in READ_ONLY_KINDS):
                yield from (Scenario(kind, name, bus.name, None, length) for length in call.lengths)


def _controller(number: int, bus: Bus) -> Controller:
    return Controller(
        bus.name,
        bus.what,
        fronts=frozenset({"bus"}),
        calls={name: 1 if BUS_CALLS[name].single else bus.most for name in bus.ways},
        scenarios={SUITE: partial(_scenarios, bus)},
        places=frozenset({Where.GUEST}),
        elsewhere="only a guest has the harness's controllers on other buses: --target qemu",
        needs=NEEDS,
        absent="this kernel has not all of the buses: CONFIG_{symbol} is not set",
        unmodelled="the model has no other bus than I2C",
        expects=partial(_expects, bus),
        module="dmasafe_buses",
        # images/modules/buses/buses_main.c has them in the same order.
        platform=f"dmasafe_buses.{number}",
        # The client module finds it by its name, and hears from it what the hardware saw.
        words=(f"bus={bus.name}",),
        has_adapter=False,
        record=Record.GUEST,
    )


CONTROLLERS = {bus.name: _controller(number, bus) for number, bus in enumerate(BUSES.values())}
