# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run needs of this machine, and the command that installs what is missing."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from dmasafe import kernel as kernels
from dmasafe.errors import DmasafeError, to_install
from dmasafe.kernel.config import find_architecture
from dmasafe.kernel.emulator import SUITES, find_newer_qemu
from dmasafe.kernel.tools import required_tools
from dmasafe.qemu import QemuError
from dmasafe.qemu.accelerators import accelerator_works
from dmasafe.qemu.machines import find_machine
from dmasafe.qemu.versions import VFIO_USER_SINCE, has_vfio_user, qemu_version, version_text

# A kernel's objects, its source tree and its tarball, unpacked.
WANTED_CACHE_BYTES = 4 << 30


@dataclass(frozen=True)
class Check:
    """One line: ``ok`` None means that nothing depends on it. ``remedy`` is a command or a sentence."""

    name: str
    ok: bool | None
    found: str
    remedy: str = ""


def checks(arch: str) -> list[Check]:
    """Everything that a run on this architecture needs, in the order in which it is needed."""
    needed = [_qemu(arch), *_cache()]
    needed.insert(1, _vfio_user(arch))
    # Without them there is nothing to try an accelerator with.
    tried = () if any(row.ok is False for row in needed) else (_accelerator(arch),)
    return [*_packages(arch), *needed, *tried]


def _packages(arch: str) -> list[Check]:
    architecture = find_architecture(arch)
    tools = required_tools(architecture)
    missing = kernels.missing_packages(architecture)
    found = []
    if missing:
        names = ", ".join(name for tools in missing.values() for name in tools)
        found.append(Check("build tools", False, f"missing: {names}", to_install(*sorted(missing))))
    else:
        found.append(Check("build tools", True, f"all {sum(not tool.optional for tool in tools)} are here"))
    faster = kernels.missing_packages(architecture, optional=True)
    if faster:
        found.append(Check("optional tools", None, f"missing: {', '.join(faster)}", to_install(*faster)))
    return found


def _qemu(arch: str) -> Check:
    machine = find_machine(arch)
    try:
        version = qemu_version(machine.binary, machine.debian_package)
    except QemuError as error:
        remedy = to_install(machine.debian_package)
        return Check("QEMU", False, str(error).removesuffix(f": {remedy}"), remedy)
    return Check("QEMU", True, f"{machine.binary} {version[0]}.{version[1]}")


def _vfio_user(arch: str) -> Check:
    """The QEMU of host models: this system's, or one of the cache's own; only they need it."""
    machine = find_machine(arch)
    since = ".".join(map(str, VFIO_USER_SINCE))
    if has_vfio_user(machine.binary, machine.debian_package):
        return Check("QEMU for hosts", None, f"this one: it has vfio-user-pci, as from {since} on")
    fetched = find_newer_qemu(machine.binary, kernels.find_cache())
    if fetched is None:
        found = f"needs {since} or later: Debian's {SUITES[-1]} is asked for it when the suite hosts needs it"
        return Check("QEMU for hosts", None, found)
    version = version_text(str(fetched), machine.debian_package) or "one that does not start"
    return Check("QEMU for hosts", None, f"{version}, of Debian's {SUITES[-1]}, in the cache")


def _cache() -> list[Check]:
    try:
        store = kernels.open_cache()
    except DmasafeError as error:
        found, _, remedy = str(error).rpartition(": ")
        return [Check("cache", False, found, remedy)]
    free = shutil.disk_usage(store.root).free
    built = kernels.list_kernels(store)
    room = Check("cache", True, f"{store.root}, {free >> 30} GiB free")
    if free < WANTED_CACHE_BYTES and not built:
        wanted = f"a first build wants {WANTED_CACHE_BYTES >> 30} GiB"
        room = Check("cache", False, f"{store.root} has {free >> 20} MiB free; {wanted}", "free some space")
    names = ", ".join(dict.fromkeys(f"{kernel.release} {kernel.arch} {kernel.configuration}" for kernel in built))
    return [room, Check("kernels", None, names or "none built yet", "" if built else "dmasafe kernel build")]


def _accelerator(arch: str) -> Check:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Check("accelerator", None, "tcg (there is no /dev/kvm that you may use)")
    try:
        store = kernels.open_cache()
        built = [kernel for kernel in kernels.list_kernels(store) if kernel.arch == arch]
        if not built:
            return Check("accelerator", None, "/dev/kvm exists; it counts once it has booted a kernel")
        works = accelerator_works(find_machine(arch), "kvm", built[0].image, store.path("accelerators.json"))
    except DmasafeError as error:
        return Check("accelerator", None, f"tcg ({error})")
    return Check("accelerator", None, "kvm" if works else "tcg (/dev/kvm exists, but a kernel does not boot with it)")
