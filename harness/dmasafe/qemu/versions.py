# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between QEMU versions, as data, and how to find out which one is here."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dmasafe.errors import to_install
from dmasafe.qemu import QemuError

VERSION_TIMEOUT_S = 10
OLDEST = (7, 2)
# Debian's 10.0 does not have the device, 10.1's release notes name it first.
VFIO_USER_SINCE = (10, 1)
# Besides QEMU's own directories: where packages of their own put a firmware.
FIRMWARE_DIRECTORIES = ("/usr/share/qemu", "/usr/share/qboot", "/usr/share/seabios", "/usr/share/qemu-firmware")


@dataclass(frozen=True)
class Difference:
    """Options that hold for versions from ``since`` on (inclusive) and before ``until`` (exclusive)."""

    since: tuple[int, int]
    until: tuple[int, int]
    options: tuple[str, ...]
    why: str


DIFFERENCES: tuple[Difference, ...] = (
    Difference((7, 2), (11, 1), ("-mon", "chardev=qmp,mode=control"), "11.1 warns that it will go"),
    Difference((11, 1), (99, 0), ("-object", "monitor-qmp,id=monitor,chardev=qmp"), "before, there was only -mon"),
    Difference(
        (10, 2),
        (99, 0),
        ("-run-with", "exit-with-parent=on"),
        "from 10.2 on QEMU ends with its parent by itself; before, only prctl() in the child does that",
    ),
)


def options_for(version: tuple[int, int]) -> tuple[str, ...]:
    """The extra command line of this version."""
    return tuple(option for row in DIFFERENCES if row.since <= version < row.until for option in row.options)


@lru_cache(maxsize=8)
def firmware_options(binary: str, firmware: str | None) -> tuple[str, ...]:
    """-bios with this image, from where QEMU looks or where a distribution puts it; nothing where no package has it.

    QEMU then takes its own default, which for a PC is SeaBIOS: it starts the same kernels, more slowly.
    """
    if firmware is None:
        return ()
    # To ask QEMU costs its start; most have it where they are installed.
    program = Path(shutil.which(binary) or binary).resolve()
    near = (program.parents[1] / "share" / "qemu", *FIRMWARE_DIRECTORIES)
    found = next((path for path in (Path(place) / firmware for place in near) if path.is_file()), None)
    if found is None:
        try:
            done = subprocess.run([binary, "-L", "help"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise QemuError(f"{binary} -L help failed: {error}") from error
        asked = (Path(place) / firmware for place in done.stdout.splitlines())
        found = next((path for path in asked if path.is_file()), None)
    return ("-bios", str(found)) if found else ()


@lru_cache(maxsize=8)
def qemu_version(binary: str, debian_package: str) -> tuple[int, int]:
    """(major, minor) of this QEMU. Raises QemuError if it is missing, broken or older than 7.2."""
    if shutil.which(binary) is None:
        raise QemuError(f"{binary} is not installed: {to_install(debian_package)}")
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QemuError(f"{binary} --version failed: {error}") from error
    match = re.search(r"version (\d+)\.(\d+)", done.stdout)
    if done.returncode or match is None:
        raise QemuError(f"{binary} --version printed no version: {(done.stdout + done.stderr).strip()[:200]}")
    version = (int(match[1]), int(match[2]))
    if version < OLDEST:
        raise QemuError(f"{binary} is {version[0]}.{version[1]}; vhost-user-i2c needs {OLDEST[0]}.{OLDEST[1]} or later")
    return version


def version_text(binary: str, debian_package: str) -> str | None:
    """As qemu_version(), for people and files; None if there is none."""
    try:
        major, minor = qemu_version(binary, debian_package)
    except QemuError:
        return None
    return f"{major}.{minor}"


@lru_cache(maxsize=8)
def has_vfio_user(binary: str, debian_package: str) -> bool:
    """Whether this QEMU is there and has vfio-user-pci, which whoever built it may have left out."""
    try:
        if qemu_version(binary, debian_package) < VFIO_USER_SINCE:
            return False
        # `-device help` would open every module, this opens those of one device.
        command = [binary, "-device", "vfio-user-pci,help"]
        return subprocess.run(command, capture_output=True, timeout=VERSION_TIMEOUT_S).returncode == 0
    except (QemuError, OSError, subprocess.TimeoutExpired):
        return False
