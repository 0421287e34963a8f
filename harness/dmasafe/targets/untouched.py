# SPDX-License-Identifier: GPL-2.0-or-later
"""A distribution's kernel without any module of the harness's: what can be tried there, and by which oracles.

Calls come from user space, through i2c-dev. The device sees the bus, SLUB's poison tells of writes to memory that is
free. What proves the latter is hardware that writes once more what it has read, when its driver has freed the buffer;
behind an IOMMU it cannot, and the device sees that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from dmasafe.carriers import Controller, controller_of
from dmasafe.devices.hosts import Path, hosts
from dmasafe.devices.hosts.faults import AFTER_S
from dmasafe.dmesg import parse_records
from dmasafe.facts import KernelFacts
from dmasafe.guest.hands import Refused
from dmasafe.outcome import BusMessage
from dmasafe.qemu.machines import HOST_SLOTS
from dmasafe.scenario import OPERATIONS, Scenario, parse_scenario
from dmasafe.targets.gathered import OUTSIDE
from dmasafe.targets.session import LIMITS, Limits, Session

#: A distribution's kernel has much to start, and TCG is slow.
BOOT_LIMITS = Limits(boot_s=6 * LIMITS.boot_s)
# Beyond every threshold of the drivers that map a copy.
_CANARY_BYTES = 64
_FAULT = "writes-after"
_REPORT = "Poison overwritten"
_LOOK = "for f in /sys/kernel/slab/kmalloc-[0-9]*/validate; do echo 1 > $f; done"
_LOOK_TIMEOUT_S = 10.0


def cannot(scenario: Scenario) -> str | None:
    """Why this scenario cannot be tried without a module of the harness's, or None."""
    row = controller_of(scenario.controller)
    if not OPERATIONS[scenario.operation].from_user_space:
        return f"{scenario.operation} is called by a module of dmasafe's, and a distribution's kernel is left as it is"
    return _lacks(row)


def _lacks(row: Controller) -> str | None:
    if row.plug is None or row.plug.transport != "vfio-user":
        return f"{row.name}: on a distribution's kernel only upstream's own controllers (suite hosts) are tried"
    if hosts()[row.name].dmaengine:
        return f"{row.name} takes a DMA controller whose driver is a module of dmasafe's (dmasafe_dma.ko)"
    return None


def provers(facts: KernelFacts) -> tuple[str, ...]:
    """The hosts that this kernel can have and whose driver reads into a copy that it frees when it is told the end."""
    found = []
    for name, host in hosts().items():
        if host.function is None or host.policy.smbus or _lacks(controller_of(name)) is not None:
            continue
        rule = host.policy.rule((facts.version[0], facts.version[1]), _CANARY_BYTES, True, False, False)
        if rule.path is Path.HELPER and controller_of(name).missing(facts.has) is None:
            found.append(name)
    return tuple(found)


def with_prover(names: Sequence[str], facts: KernelFacts) -> tuple[str, ...]:
    """These controllers, and one more that can prove the boot if none of them can and there is room."""
    names, able = tuple(dict.fromkeys(names)), provers(facts)
    return names if set(names) & set(able) or len(names) >= len(HOST_SLOTS) else (*names, *able[:1])


def canary(host: str) -> Scenario:
    """The scenario of which SLUB must report that freed memory was written to."""
    return parse_scenario(f"user/i2cdev_read/{host}/{_CANARY_BYTES}+hardware={_FAULT}")


def controls(host: str) -> tuple[Scenario, ...]:
    """What must go well in every boot."""
    return tuple(parse_scenario(f"user/{operation}/{host}/8") for operation in ("i2cdev_write", "i2cdev_read"))


def let_it_write(session: Session) -> None:
    """Until the canary's hardware has written once more."""
    time.sleep(2 * AFTER_S)
    session.sync_device()


def inspect(session: Session, number: int) -> None:
    """Have SLUB look at memory that is free; what it reports counts for the scenario ``number``. Raises BootLost."""
    before = len(session.gathered.records.get(OUTSIDE, ()))
    try:
        session.hands.run(_LOOK, _LOOK_TIMEOUT_S)
    except Refused as error:
        session.gathered.distrust = session.gathered.distrust or f"SLUB cannot be asked: {error}"
    session.request("kmsg")
    outside = session.gathered.records.get(OUTSIDE, [])
    found = outside[before:]
    del outside[before:]
    if found:
        session.gathered.records.setdefault(number, []).extend(found)


def is_proved(records: Sequence[str], trace: Sequence[BusMessage], iommu: bool) -> bool:
    """Whether the canary was noticed: by SLUB, or by an IOMMU, which lets the device not write."""
    if iommu:
        return any(segment.stray for message in trace for segment in message.segments)
    return bool(parse_records(records)) and any(_REPORT in text for text in records)
