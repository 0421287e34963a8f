# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers, each with emulated hardware behind it (dmasafe/devices/hosts): a controller a host.

What a driver does with a buffer is its policy there; scenarios are made around the lengths at which it changes its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dmasafe.carriers.controller import Controller, Plug, Where
from dmasafe.carriers.suites import SMBUS, I2cdevRow
from dmasafe.devices.hosts import HostModel, Path, hosts
from dmasafe.devices.hosts.faults import SLOW_S
from dmasafe.host_policy import HostPolicy
from dmasafe.vocabulary import (
    ABSENT_ADDRESS,
    BUFFER_KINDS,
    CORE_OPERATIONS,
    NAK_DATA_ADDRESS,
    OPERATIONS,
    READ_ONLY_KINDS,
    RECORDER_ADDRESS,
    REGISTER_FILE_ADDRESS,
    SUSPEND,
    UNBIND,
    UNBOUND,
    USER,
    Scenario,
    make_options,
)

HOSTS, LEAVING = "hosts", "hosts-leaving"
#: The bus has four interrupt lines, of which i2c-virtio has one: dmasafe/qemu/machines.py, HOST_SLOTS.
ROOM = 3
# A driver whose way changes nowhere is tried with these.
_LENGTHS = (1, 8, 32)
_FEW = 8
# Kinds that no architecture, or not every one, has in its linear map: dma_map_single() rejects them there.
_UNMAPPABLE = frozenset({"stack", "rodata", "data", "vmalloc"})
# Kinds that are tried on both sides of the last threshold, too: what is_vmalloc_addr() and the mark decide shows here.
_BOTH_SIDES = ("stack", "vmalloc", "module-data")
_I2CDEV: tuple[I2cdevRow, ...] = (
    *(("i2cdev_write", n, RECORDER_ADDRESS, {}) for n in (1, 32)),
    *(("i2cdev_read", n, RECORDER_ADDRESS, {}) for n in (1, 32)),
    ("i2cdev_rdwr", 32, RECORDER_ADDRESS, {"messages": "w32"}),
    ("i2cdev_rdwr", 32, RECORDER_ADDRESS, {"messages": "r32"}),
    ("i2cdev_rdwr", 32, RECORDER_ADDRESS, {"messages": "w1,r32"}),
    ("i2cdev_rdwr", 32, RECORDER_ADDRESS, {"messages": "w32,r32"}),
    ("i2cdev_write", 8, ABSENT_ADDRESS, {}),
    ("i2cdev_read", 8, ABSENT_ADDRESS, {}),
    ("i2cdev_write", 8, NAK_DATA_ADDRESS, {}),
)  # fmt: skip
_SMBUS: tuple[I2cdevRow, ...] = (("i2cdev_smbus", 0, ABSENT_ADDRESS, {"protocol": "quick", "rd": "0"}), *SMBUS)


def _plain(row: I2cdevRow) -> bool:
    """Whether it is no block read, which i2c_smbus_xfer_emulated() does by I2C_M_RECV_LEN: few drivers look at that."""
    _operation, _length, _address, words = row
    return (words["protocol"], words["rd"]) != ("block_data", "1")


def host_lengths(host: HostModel) -> tuple[int, ...]:
    """Payloads in bytes on both sides of every length at which some version of the driver changes its way, in order."""
    edges = {rule.least for rule in host.policy.rules} | {rule.most + 1 for rule in host.policy.rules if rule.most}
    around = {edge + more for edge in edges for more in (-1, 0)}
    return tuple(sorted({length for length in (*_LENGTHS, *around) if 0 < length <= 0xFFFF}))


def _after_nothing(host: HostModel, scenario: Scenario) -> int:
    """Where a scenario stands in a host's: first what cannot be mapped, then what slaves refuse, then the rest.

    Some drivers undo what they keep of the message before when one fails: after DMA that went well this is memory that
    is free by then, or somebody else's (findings at91-unmaps-twice, qcom-geni-stale-buffer and
    lpi2c-command-buffer-freed-twice, which have it in their own order). That depends on what ran before, and damages
    what runs later; here nothing has gone by DMA before. At the end is what spoils all that comes behind it.
    """
    if host.policy.wedges and scenario.address == ABSENT_ADDRESS and scenario.reads:
        return 3
    if scenario.buffer in _UNMAPPABLE and scenario.marked:
        return 0
    return 1 if scenario.address in (ABSENT_ADDRESS, NAK_DATA_ADDRESS) else 2


def _scenarios(host: HostModel) -> Iterator[Scenario]:
    """What a host is tried with, in this order: see _after_nothing()."""
    return iter(sorted(_all_scenarios(host), key=partial(_after_nothing, host)))


def _all_scenarios(host: HostModel) -> Iterator[Scenario]:
    """Ordinary memory with every length, each other kind beyond the last threshold, where most goes by DMA."""
    lengths = host_lengths(host)
    last = max((rule.least for rule in host.policy.rules), default=1)
    beyond = next((length for length in lengths if length >= max(last, 8)), lengths[-1])
    below = max((length for length in lengths if length < last), default=beyond)
    for kind in BUFFER_KINDS if not host.policy.smbus else ():
        some = {beyond, below} if kind in _BOTH_SIDES else {beyond}
        for operation, options in CORE_OPERATIONS:
            if operation == "get_put" or (OPERATIONS[operation].reads and kind in READ_ONLY_KINDS):
                # Who writes to memory that is read-only by the processor dies of it, with the adapter's lock in hand.
                continue
            for length in lengths if kind == "heap" else sorted(some):
                yield Scenario(kind, operation, host.name, None, length, options=options)
    for operation, length, address, words in _SMBUS if host.policy.smbus else (*_I2CDEV, *filter(_plain, _SMBUS)):
        yield Scenario(USER.name, operation, host.name, None, length, address, make_options(words))


def _leaving(host: HostModel) -> Iterator[Scenario]:
    """The driver is unbound beside a transfer, and before one on a file that is open; by DMA where it does DMA.

    And the system sleeps beside one: of somebody in user space, and of one in the kernel.
    """
    policy = host.policy
    # A driver that maps in pieces is reported for that alone.
    length = _LENGTHS[-1] if policy.pieces else host_lengths(host)[-1]
    # As long as the driver has patience for: a busy machine needs time to unbind it, or to suspend every other one.
    held = {"hardware": "slow" if policy.bears(SLOW_S) and not policy.cut else "busy"}
    late, under_way, asleep = {"meanwhile": UNBOUND}, held | {"meanwhile": UNBIND}, held | {"meanwhile": SUSPEND}
    if policy.smbus:
        rows = [("i2cdev_smbus", 8, {"protocol": "i2c_block_data", "rd": rd, "command": "32"}) for rd in ("0", "1")]
    else:
        rows = [("i2cdev_write", length, {}), ("i2cdev_read", length, {})]
    address = REGISTER_FILE_ADDRESS if policy.smbus else RECORDER_ADDRESS
    for operation, size, words in rows:
        yield Scenario(USER.name, operation, host.name, None, size, address, make_options({**words, **late}))
        # The processor takes longer for each byte the busier the machine is.
        few = _FEW if _by_processor(policy, size) else size
        for more in () if policy.cut else (under_way, asleep)[: 1 + operation.endswith("read") + policy.smbus]:
            yield Scenario(USER.name, operation, host.name, None, few, address, make_options({**words, **more}))
    for operation in () if policy.smbus else ("master_recv_dmasafe", "master_send_dmasafe"):
        yield Scenario("heap", operation, host.name, None, length, options=make_options(asleep))
    # What a driver that was cut off leaves in its hardware is the next transfer's: it has one, and that last.
    for operation in () if policy.smbus else ("master_recv_dmasafe", "master_send_dmasafe")[policy.cut :]:
        yield Scenario("heap", operation, host.name, None, length, options=make_options(under_way))


def _by_processor(policy: HostPolicy, length: int) -> bool:
    """Whether no kernel's driver moves a message of so many bytes that is not marked by DMA."""
    versions = {rule.since for rule in policy.rules}
    return {policy.rule(version, length, True, False, False).path for version in versions} == {Path.PIO}


def _controller(host: HostModel) -> Controller:
    return Controller(
        host.name,
        f"upstream {host.module}, its hardware emulated",
        scenarios={HOSTS: partial(_scenarios, host), LEAVING: partial(_leaving, host)},
        places=frozenset({Where.MODEL, Where.GUEST}),
        elsewhere="only a guest has upstream's own controllers emulated: --target qemu",
        # COMPILE_TEST stands in for a driver's own platform.
        needs=(host.symbol, *(symbol for symbol in host.needs if not symbol.startswith("ARCH_"))),
        absent="this kernel lacks what {name} takes: CONFIG_{symbol} is not set (--config hosts or hosts-irqs)",
        model=host.policy,
        plug=Plug("vfio-user", 0, host.name),
        driver=host.module,
        room=1 if host.policy.leaves else ROOM,
        reads_blocks=host.policy.smbus or host.policy.blocks,
        # The first gives up after 100 ms.
        impatient=True,
        stumbles=True,
        may_fail=True,
    )


CONTROLLERS = {name: _controller(host) for name, host in hosts().items() if host.function is not None}
