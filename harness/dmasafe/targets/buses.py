# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems on the flashes of dmasafe_buses.ko: mounted before the scenarios that use them.

Each SPI controller has a flash with two MTD partitions, one for JFFS2 and one for UBI. The module looks for a file
system's file in /tmp/BUS-FILESYSTEM.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from dmasafe.buses import BUS_CALLS
from dmasafe.guest.hands import Hands
from dmasafe.scenario import Scenario
from dmasafe.targets.errors import BootLost
from dmasafe.targets.session import Session, lost

_MTD_CLASS = "/sys/class/mtd"
_UBI_CLASS = "/sys/class/ubi"
# include/uapi/mtd/ubi-user.h: UBI_IOCATT with struct ubi_attach_req, UBI_IOCMKVOL with struct ubi_mkvol_req.
_UBI_ATTACH, _ATTACH_REQUEST = 0x40186F40, struct.Struct("=iiihbb8x")
_UBI_MAKE_VOLUME, _VOLUME_REQUEST = 0x40986F00, struct.Struct("=iiqbBh4x128s")
_UBI_AUTO = -1
_UBI_DYNAMIC = 3
_VOLUME = "files"
# On a busy host.
_MOUNT_TIMEOUT_S = 12.0
_MTD = re.compile(r"mtd([0-9]{1,3})")


def file_systems_of(scenarios: Iterable[Scenario]) -> tuple[tuple[str, str], ...]:
    """(bus, file system) of the scenarios that need one."""
    wanted = {(s.controller, BUS_CALLS[s.operation].file_system) for s in scenarios if s.operation in BUS_CALLS}
    return tuple(sorted((bus, fs) for bus, fs in wanted if fs is not None))


def mount_file_systems(session: Session, wanted: Iterable[tuple[str, str]]) -> None:
    """Make and mount them, one after the other. Raises BootLost."""
    for number, (bus, fs) in enumerate(wanted):
        source = f"mtd:{bus}-jffs2"
        if fs == "ubifs":
            _make_volume(session, bus, number)
            source = f"ubi{number}:{_VOLUME}"
        where = f"/tmp/{bus}-{fs}"
        command = f"mkdir -p {where} && mount -t {fs} {source} {where}"
        done = Hands(session.request, lost).run(command, _MOUNT_TIMEOUT_S)
        if done.status != 0:
            raise BootLost(f"the guest could not do '{command}': {done.output.strip()[:200]}")


def _make_volume(session: Session, bus: str, number: int) -> None:
    """UBI on the bus's partition, as device ``number``, and one volume as large as can be."""
    attach = _ATTACH_REQUEST.pack(number, _partition(session, f"{bus}-ubi"), 0, 0, 0, 0)
    hands = Hands(session.request, lost)
    hands.ioctl("/dev/ubi_ctrl", _UBI_ATTACH, attach)
    base = f"{_UBI_CLASS}/ubi{number}"
    size = _number(session, f"{base}/avail_eraseblocks") * _number(session, f"{base}/eraseblock_size")
    volume = _VOLUME_REQUEST.pack(_UBI_AUTO, 1, size, _UBI_DYNAMIC, 0, len(_VOLUME), _VOLUME.encode())
    hands.ioctl(f"/dev/ubi{number}", _UBI_MAKE_VOLUME, volume)


def _partition(session: Session, name: str) -> int:
    """The MTD device's number of this name."""
    for entry in Hands(session.request, lost).names(_MTD_CLASS):
        match = _MTD.fullmatch(entry)
        if match is not None and session.read(f"{_MTD_CLASS}/{match[0]}/name") == name:
            return int(match[1])
    raise BootLost(f"the guest has no MTD partition {name}")


def _number(session: Session, path: str) -> int:
    text = session.read(path)
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise BootLost(f"the guest's {path} is no number")
    return int(text)
