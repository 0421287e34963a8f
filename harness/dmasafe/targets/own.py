# SPDX-License-Identifier: GPL-2.0-or-later
"""A controller driver of the user's own in a guest: loaded, given its PCI function, its adapter found."""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dmasafe.carriers.own import OWN
from dmasafe.carriers.policy import DMASAFE
from dmasafe.guest.agent import integer
from dmasafe.guest.hands import Hands, Refused
from dmasafe.kernel.modules import module_name, once_section
from dmasafe.scenario import Scenario, ScenarioError, suite
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.hosts import ONCE_MODULE, DriverFile, rearm
from dmasafe.targets.session import Session

#: The function of vhost-user-i2c: a virtio device, and the harness's own controller.
VIRTIO_I2C = "1af4:1062"
_PCI = "/sys/bus/pci/devices"
_PLACES, _PLACE = "/tmp", "/tmp/own"
_IDS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<kind>\w+)")


@dataclass(frozen=True)
class OwnDriver:
    """``modules`` are loaded in this order, each after what it needs, those of ``loaded`` are there already.

    One of them has the controller's driver. ``once`` is the file of the module that re-arms their once-only warnings.

    ``device`` is the PCI function that the driver gets: its ids (``1af4:1062``), or ``module:Class`` of a PciFunction
    (devices/pci), which is looked for in ``path``.
    """

    modules: tuple[Path, ...]
    device: str = VIRTIO_I2C
    path: tuple[str, ...] = ()
    loaded: tuple[Path, ...] = ()
    once: Path | None = None

    @property
    def function(self) -> str | None:
        """``module:Class`` of the user's function, or None."""
        return None if _IDS.fullmatch(self.device) else self.device


def device_of(text: str) -> tuple[str, tuple[str, ...]]:
    """``device`` and ``path`` of an OwnDriver, from ids or ``FILE.py:Class``. Raises TargetError."""
    if _IDS.fullmatch(text.lower()):
        return text.lower(), ()
    match = _FUNCTION.fullmatch(text)
    if match is None:
        raise TargetError(f"'{text}' is no PCI function: write its ids, as {VIRTIO_I2C}, or FILE.py:CLASS")
    file = Path(match["file"]).expanduser().resolve()
    if not file.is_file():
        raise TargetError(f"there is no file {match['file']}")
    return f"{file.stem}:{match['kind']}", (str(file.parent),)


def own_suite(name: str, policy: str, patterns: Sequence[str] = ()) -> list[Scenario]:
    """What a suite does with a controller whose driver does the same, on the user's; those of these patterns.

    Left out is what a driver is free to refuse: messages of no bytes, block reads, seeded faults. Raises ScenarioError.
    """
    like = OWN.like[policy]
    found = [
        replace(scenario, controller=OWN.name, policy=policy)
        for scenario in suite(name)
        if (scenario.controller, scenario.policy) == like and not _is_extra(scenario)
    ]
    chosen = [scenario for scenario in found if any(fnmatch.fnmatchcase(scenario.id, text) for text in patterns)]
    if patterns and not chosen:
        raise ScenarioError(f"no scenario of suite {name} on {OWN.name}:{policy} matches {' or '.join(patterns)}")
    return chosen if patterns else found


def _is_extra(scenario: Scenario) -> bool:
    protocol = scenario.option("protocol")
    lengths = [part[1:] for part in scenario.option("messages").split(",")]
    return (
        (not scenario.length and not protocol)
        or "0" in lengths
        or protocol in ("quick", "block_data", "block_proc_call")
        or any(scenario.option(name) for name in ("fault", "threshold"))
    )


def bind_own(session: Session, own: OwnDriver, functions: Mapping[str, str]) -> tuple[int, str]:
    """The number of the adapter, made known to the agent as ``own``, and the PCI function that its driver has.

    ``functions`` are those of the machine's controllers; the canaries' is never given away. Raises BootLost.
    """
    spared = functions.get(DMASAFE.name)
    function = functions[OWN.name] if own.function is not None else _find(session, own.device, spared)
    _load(session, own.modules)
    files = (*own.loaded, *own.modules)
    driver, bus = _driver(session, [module_name(file.stem) for file in files])
    if own.once is not None:
        _load_once(session, own.once, files)
    place = {"device": function} if bus == "pci" else {"bus": bus, "device": _virtio_device(session, function)}
    reply = session.request("adapter", name=OWN.name, driver=driver, **place)
    number = integer(reply, "nr")
    if reply.get("errno") != 0 or number is None:
        raise BootLost(f"the driver {driver} made no I2C adapter of {function}: {reply.get('why', reply)}")
    return number, function


def _find(session: Session, ids: str, spared: str | None) -> str:
    for name in session.hands.names(_PCI):
        seen = ":".join((session.read(f"{_PCI}/{name}/{file}") or "").removeprefix("0x") for file in _ID_FILES)
        if seen == ids and name != spared:
            return name
    raise BootLost(f"the guest has no PCI function {ids} beside the one that the canaries need")


_ID_FILES = ("vendor", "device")


def _load(session: Session, modules: Sequence[Path]) -> None:
    for module in modules:
        path = f"{_PLACE}-{module.name}"
        session.hands.append(path, module.read_bytes())
        session.hands.load(path)


def _load_once(session: Session, once: Path, modules: Sequence[Path]) -> None:
    path = f"{_PLACE}-{once.name}"
    if path.removeprefix(f"{_PLACES}/") not in session.hands.names(_PLACES):
        session.hands.append(path, once.read_bytes())
    rearm(session, [DriverFile(module.name, *once_section(module)) for module in modules], path)


def give_back(session: Session, function: str) -> None:
    """What bind_own() loaded beside the driver goes, too; the function is free for who had it. Raises BootLost."""
    hands = Hands(session.request)
    with contextlib.suppress(Refused):
        hands.unload(module_name(ONCE_MODULE.removesuffix(".ko")))
    # A virtio device that lost its driver is offered to the others only when virtio-pci makes it anew.
    with contextlib.suppress(Refused):
        hands.write(f"{_PCI}/{function}/driver/unbind", function)


def _driver(session: Session, names: Sequence[str]) -> tuple[str, str]:
    """The driver among those of these modules that can have a controller, and its bus."""
    drivers: list[str] = []
    for name in names:
        # A module without a driver has no such directory.
        with contextlib.suppress(Refused):
            drivers += Hands(session.request).names(f"/sys/module/{name}/drivers")
    for bus in ("pci", "virtio"):
        found = [driver.partition(":")[2] for driver in drivers if driver.startswith(f"{bus}:")]
        if len(found) == 1:
            return found[0], bus
    there = ", ".join(drivers) or "none"
    raise BootLost(f"of PCI or virtio drivers {', '.join(names)} must have one; it has {there}")


def _virtio_device(session: Session, function: str) -> str:
    """What virtio-pci has made of a function."""
    for name in session.hands.names(f"{_PCI}/{function}"):
        if name.startswith("virtio"):
            return name
    raise BootLost(f"the PCI function {function} is no virtio device: its driver must be one for PCI")
