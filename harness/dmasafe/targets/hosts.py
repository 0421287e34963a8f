# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers in a guest: their drivers loaded once the hardware answers, their adapters found."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dmasafe.devices.hosts import Acpi, DeviceTree, HostModel, hosts
from dmasafe.devices.hosts.declaration import BAR_BYTES
from dmasafe.guest.hands import Refused
from dmasafe.kernel.modules import module_name
from dmasafe.qemu.hosts import addresses
from dmasafe.qemu.machines import Machine
from dmasafe.targets.errors import BootLost
from dmasafe.targets.session import Session

# Under TCG a probe takes some 100 ms.
APPEAR_TIMEOUT_S = 20.0
_POLL_S = 0.05
_COMMAND_TIMEOUT_S = 10.0
#: images/hosts: the controller that drivers get their DMA channels from; what re-arms their once-only warnings.
DMA_MODULE, ONCE_MODULE = "dmasafe_dma.ko", "dmasafe_once.ko"
_FUNCTIONS = "/sys/bus/pci/devices"
# Where each adapter hangs: .../platform/10000000.i2c/i2c-3
_LIST = "for i in /sys/bus/i2c/devices/i2c-*; do readlink -f $i; done"
_ADAPTER = re.compile(r"(?P<above>/\S+)/i2c-(?P<number>\d{1,5})")


class DriverFile(NamedTuple):
    """A module in the guest: its file's name, and the section of its once-only warnings with its length in bytes."""

    file: str
    once: str = ""
    once_bytes: int = 0


def host_adapters(
    session: Session, machine: Machine, functions: Mapping[str, str], modules: Mapping[str, Sequence[DriverFile]]
) -> dict[str, int]:
    """The adapters of these hosts, made known to the agent; those that do not appear in time are left out.

    ``functions`` are their PCI functions, ``modules`` the files that each one's driver is loaded from, in order. Raises
    BootLost.
    """
    places = addresses(machine, functions)
    for name, function in functions.items():
        if name in places:
            _enable(session, name, f"{_FUNCTIONS}/{function}", places[name])
    if any(hosts()[name].dmaengine for name in functions):
        session.hands.load(f"/modules/{DMA_MODULE}")
    drivers = list(dict.fromkeys(driver for name in functions for driver in modules.get(name, ())))
    for driver in drivers:
        session.hands.load(f"/modules/{driver.file}")
    rearm(session, drivers)
    found: dict[str, int] = {}
    deadline = time.monotonic() + APPEAR_TIMEOUT_S
    while len(found) < len(functions) and time.monotonic() < deadline:
        for above, number in _adapters(session):
            for name, function in functions.items():
                if name not in found and _is_of(session, hosts()[name], above, number, function, places.get(name)):
                    reply = session.request("adapter", name=name, nr=number)
                    if reply.get("errno") == 0:
                        found[name] = number
        if len(found) < len(functions):
            time.sleep(_POLL_S)
    return found


def _enable(session: Session, name: str, path: str, address: int) -> None:
    """Have the function answer where its node says that the controller is: nobody else's driver does."""
    line = (session.read(f"{path}/resource") or "").split()
    if not line or int(line[0], 16) != address:
        where = line[0] if line else "nowhere"
        raise BootLost(f"the kernel has put the memory of {name} at {where}, the device tree says {address:#x}")
    session.hands.write(f"{path}/enable", "1")


def rearm(session: Session, drivers: Sequence[DriverFile], module: str = f"/modules/{ONCE_MODULE}") -> bool:
    """Let the once-only warnings of modules come again: the agent asks for it before each scenario.

    ``module`` is what does it. Whether it was needed. Raises BootLost.
    """
    ranges = []
    for driver in (each for each in drivers if each.once_bytes):
        name = module_name(driver.file.removesuffix(".ko"))
        address = session.read(f"/sys/module/{name}/sections/{driver.once}")
        if address is None:
            raise BootLost(f"the guest does not say where {name} keeps which once-only warnings it has given")
        ranges += [address, str(driver.once_bytes)]
    if ranges:
        session.hands.load(module, f"ranges={','.join(ranges)}")
    return bool(ranges)


def _adapters(session: Session) -> Iterator[tuple[str, int]]:
    """What each adapter is below, and its number."""
    try:
        lines = session.hands.run(_LIST, _COMMAND_TIMEOUT_S).output.split()
    except Refused:
        return
    for line in lines:
        match = _ADAPTER.fullmatch(line)
        if match is not None:
            yield match["above"], int(match["number"])


def _is_of(session: Session, host: HostModel, above: str, number: int, function: str, address: int | None) -> bool:
    parts = above.split("/")
    match host.place:
        case DeviceTree():
            assert address is not None
            heads = (part.partition(".")[0] for part in parts if "." in part)
            return any(re.fullmatch("[0-9a-f]+", head) and 0 <= int(head, 16) - address < BAR_BYTES for head in heads)
        case Acpi():
            named = session.read(f"{above}/i2c-{number}/name") or ""
            return named.startswith(host.policy.adapter)
        case _:
            return function in parts
