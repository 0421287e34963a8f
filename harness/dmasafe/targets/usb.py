# SPDX-License-Identifier: GPL-2.0-or-later
"""USB bridges in a guest: what their adapters' numbers have become.

A bridge is known in sysfs by its serial number, which is its controller's name. Its adapter is a directory i2c-N below
one of its interfaces, or below what the interface's driver made of it (an MFD cell, a HID device). An adapter without a
parent (i2c-robotfuzz-osif's) says in its name where the bridge is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from dmasafe.guest.hands import Hands, Refused
from dmasafe.targets.session import Session

# Each device is found, reset and probed after the other; under TCG this takes some 300 ms.
APPEAR_TIMEOUT_S = 20.0
_POLL_S = 0.05
_DEVICES = "/sys/bus/usb/devices"
_ADAPTERS = "/sys/bus/i2c/devices"
_ADAPTER = re.compile(r"i2c-([0-9]{1,5})")
# Below an interface: a HID device (bus, vendor, product, number), a cell of an MFD.
_CHILD = re.compile(r"[0-9A-F]{4}:[0-9A-F]{4}:[0-9A-F]{4}\.[0-9A-F]{4}|[\w-]+\.\d+\.auto")
# sysfs of a guest that plays tricks.
_MAX_NAMES = 256


def bridge_adapters(session: Session, names: Sequence[str]) -> dict[str, int]:
    """The adapters of these bridges, made known to the agent; those that do not appear in time are left out.

    Raises BootLost.
    """
    found: dict[str, int] = {}
    deadline = time.monotonic() + APPEAR_TIMEOUT_S
    while len(found) < len(names):
        for name, number in _look(session, [name for name in names if name not in found]).items():
            reply = session.request("adapter", name=name, nr=number)
            if reply.get("errno") == 0:
                found[name] = number
        if len(found) == len(names) or time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return found


def _look(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Adapter numbers of those that are there now."""
    found: dict[str, int] = {}
    for device in _names(session, _DEVICES):
        if ":" in device:
            continue
        serial = session.read(f"{_DEVICES}/{device}/serial")
        if serial not in names or serial is None:
            continue
        number = _adapter_of(session, device)
        if number is not None:
            found[serial] = number
    return found


def _adapter_of(session: Session, device: str) -> int | None:
    for interface in _names(session, f"{_DEVICES}/{device}"):
        if interface.startswith(f"{device}:"):
            number = _adapter_below(session, f"{_DEVICES}/{device}/{interface}")
            if number is not None:
                return number
    return _adapter_named_after(session, device)


def _adapter_named_after(session: Session, device: str) -> int | None:
    """The adapter whose name ends as those of drivers do that name their device: ``bus 001 device 002``."""
    bus, number = (session.read(f"{_DEVICES}/{device}/{name}") for name in ("busnum", "devnum"))
    if bus is None or number is None:
        return None
    ending = f" bus {bus.zfill(3)} device {number.zfill(3)}"
    for name in _names(session, _ADAPTERS):
        match = _ADAPTER.fullmatch(name)
        if match is not None and (session.read(f"{_ADAPTERS}/{name}/name") or "").endswith(ending):
            return int(match[1])
    return None


def _adapter_below(session: Session, path: str, depth: int = 1) -> int | None:
    names = _names(session, path)
    for name in names:
        match = _ADAPTER.fullmatch(name)
        if match is not None:
            return int(match[1])
    for name in names if depth else ():
        if _CHILD.fullmatch(name):
            number = _adapter_below(session, f"{path}/{name}", depth - 1)
            if number is not None:
                return number
    return None


def _names(session: Session, path: str) -> list[str]:
    try:
        return Hands(session.request).names(path)[:_MAX_NAMES]
    except Refused:
        return []
