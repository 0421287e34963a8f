# SPDX-License-Identifier: GPL-2.0-or-later
"""From a kernel's source and configuration to an image that boots, and what is known of its kernel.

Everything that boots a guest of the harness's own begins here.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dmasafe import kernel as kernels
from dmasafe.architecture import host_arch
from dmasafe.devices.hosts import hosts
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.kernel.config import STRICT_FRAGMENT, not_verified, resolve, strict_line, strict_line_of
from dmasafe.kernel.emulator import SUITES, newer_qemu
from dmasafe.kernel.errors import SourceError
from dmasafe.kernel.modules import load_order, once_section, own_modules
from dmasafe.kernel.permission import may_build
from dmasafe.kernel.source import AptSource, ReleaseSource
from dmasafe.progress import Progress
from dmasafe.qemu.accelerators import choose_accelerator, require_accelerator
from dmasafe.qemu.machines import Machine, find_machine
from dmasafe.qemu.versions import VFIO_USER_SINCE, has_vfio_user, version_text
from dmasafe.targets.boot import GuestImage, plugged_for
from dmasafe.targets.errors import TargetError
from dmasafe.targets.hosts import ONCE_MODULE, DriverFile
from dmasafe.targets.kconfig import facts_from_config
from dmasafe.targets.own import OwnDriver, device_of
from dmasafe.targets.session import linked_symbols
from dmasafe.targets.untouched import with_prover

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
DEFAULT_CONFIGURATION = "default"
#: The directory of images/ with what drivers of upstream's controllers need beside themselves.
HOST_MODULES = "hosts"
#: What the agent needs of a kernel that has it as modules, and what it makes calls with.
EARLY_MODULES, I2CDEV_MODULE = ("virtio_pci", "virtio_console"), "i2c_dev"
#: SLUB tells who writes to memory that is free, KFENCE takes none of it away.
UNTOUCHED_CMDLINE = ("slub_debug=FZP,kmalloc-*", "kfence.sample_interval=0")
#: The architecture of the guests, unless another one is named.
DEFAULT_ARCH = host_arch()


@dataclass(frozen=True)
class Prepared:
    """A guest that can be booted, and what is known of its kernel; modules build against ``build.build_dir``."""

    image: GuestImage
    kernel: KernelInfo
    facts: KernelFacts
    build: kernels.Kernel


class KernelChoice(NamedTuple):
    """Which kernel, and how it runs: what prepare() takes first, in this order."""

    source: str = kernels.DEFAULT_SOURCE
    configuration: str = DEFAULT_CONFIGURATION
    arch: str = DEFAULT_ARCH
    accel: str | None = None


def build_kernel(
    kernel_source: str, configuration: str, arch: str, progress: Progress, update: bool = False, jobs: int | None = None
) -> kernels.Kernel:
    """The kernel of this source and configuration, built if it is not in the cache. Raises KernelError."""
    store = kernels.open_cache()
    source = kernels.parse_source(kernel_source)
    if isinstance(source, AptSource | ReleaseSource) and kernels.remembered(source, store) is None:
        may_build(f"a kernel of {kernel_source}", f"dmasafe kernel build {kernel_source}")
    tree = kernels.fetch(source, store, progress, update=update)
    return kernels.build_kernel(tree, configuration, arch, store, progress, jobs=jobs)


def prepare(
    kernel_source: str,
    configuration: str,
    arch: str,
    accel: str | None,
    progress: Progress,
    cmdline: tuple[str, ...] = (),
    extra_modules: str | Sequence[str] | None = None,
    image_name: str = kernels.MINIMAL,
    patched: kernels.Kernel | None = None,
    more_files: Sequence[Path] = (),
) -> Prepared:
    """Fetch, configure, build and pack whatever is not in the cache yet. Raises KernelError, QemuError.

    ``extra_modules`` names a directory of images/ whose modules go into the initramfs too, or several. ``patched`` is
    booted instead of the kernel that this names, which it was made from (kernel/patched.py). ``more_files``
    are laid beside the modules.
    """
    # What is wrong in any case is said before minutes are spent.
    kernels.find_configuration(kernels.load_matrix(), configuration, arch)
    require_accelerator(accel)
    built = build_kernel(kernel_source, configuration, arch, progress)
    return ready(built, configuration, arch, accel, progress, cmdline, extra_modules, image_name, patched, more_files)


def ready(
    built: kernels.Kernel,
    configuration: str,
    arch: str,
    accel: str | None,
    progress: Progress,
    cmdline: tuple[str, ...] = (),
    extra_modules: str | Sequence[str] | None = None,
    image_name: str = kernels.MINIMAL,
    patched: kernels.Kernel | None = None,
    more_files: Sequence[Path] = (),
) -> Prepared:
    """prepare() for a kernel that is built; its objects must still be there. Raises KernelError, QemuError."""
    kernel = patched or built
    initrd = pack_initrd(kernel, image_name, progress, extra_modules, built, more_files)
    image = bootable(kernel.image, initrd, arch, configuration, accel, cmdline)
    drivers = {name: tuple(map(_driver_file, files)) for name, files in host_modules(kernel).items()}
    image = replace(image, modules=drivers)
    config = kernel.config.read_text()
    info, facts = described(image, config, kernel.release, arch, configuration, kernel.source, kernel.notes)
    return Prepared(image, info, facts, kernel)


def prepare_distribution(
    kernel_source: str, configuration: str, arch: str, accel: str | None, progress: Progress
) -> Prepared:
    """A distribution's kernel (``deb:PACKAGE``) with its own modules and none of the harness's. Raises as prepare().

    ``configuration`` says what machine it gets.
    """
    kernels.find_configuration(kernels.load_matrix(), configuration, arch)
    require_accelerator(accel)
    store = kernels.open_cache()
    kernel = kernels.fetch_kernel(kernels.parse_deb(kernel_source), arch, store, progress)
    own = own_modules(kernel)
    drivers, early = host_modules(kernel), [load_order(name, own) for name in EARLY_MODULES]
    files = [*(file for chain in early for file in chain), *load_order(I2CDEV_MODULE, own)]
    modules = tuple(dict.fromkeys((*files, *(file for chain in drivers.values() for file in chain))))
    first = tuple(dict.fromkeys(file.name for file in files))
    agent = kernels.build_agent(arch, kernels.project_root() / "images" / "agent", store, progress)
    initrd = kernels.build_image(kernels.MINIMAL, arch, modules, agent, store, progress, first)
    image = bootable(kernel.image, initrd, arch, configuration, accel, UNTOUCHED_CMDLINE)
    named = {name: tuple(DriverFile(path.name) for path in chain) for name, chain in drivers.items()}
    image = replace(image, modules=named, untouched=True, symbols={})
    name = (
        kernel.configuration if configuration == DEFAULT_CONFIGURATION else f"{kernel.configuration}, {configuration}"
    )
    notes = ("a distribution's kernel as it is: no module of dmasafe's, and what needs one is skipped",)
    info, facts = described(image, kernel.config.read_text(), kernel.release, arch, name, kernel.source, notes)
    return Prepared(image, info, replace(facts, untouched=True), kernel)


def with_qemu_arguments(prepared: Prepared, arguments: Sequence[str]) -> Prepared:
    """The same in a machine of the user's making; its results say so."""
    if not arguments:
        return prepared
    note = (
        f"QEMU was given '{shlex.join(arguments)}' as well (--qemu-arg): the machine is not the one that was verified"
    )
    extras = replace(prepared.image.extras, arguments=tuple(arguments))
    kernel = replace(prepared.kernel, notes=(*prepared.kernel.notes, note))
    return replace(prepared, image=replace(prepared.image, extras=extras), kernel=kernel)


def with_own_driver(prepared: Prepared, directory: Path, device: str, progress: Progress) -> Prepared:
    """The same with the user's own controller driver, built from ``directory``; ``device`` is whose it is (own.py).

    Its results say so. Raises KernelError, TargetError.
    """
    named, path = device_of(device)
    modules = kernels.build_modules(prepared.build, directory.expanduser().resolve(), kernels.open_cache(), progress)
    own = OwnDriver(tuple(modules), named, path, once=once_module(prepared.build, progress))
    machine = prepared.image.machine if own.function is None else with_vfio_user(prepared.image.machine, progress)
    note = f"the controller own is {device} with the driver in {directory}"
    kernel = replace(prepared.kernel, notes=(*prepared.kernel.notes, note))
    return replace(prepared, image=replace(prepared.image, machine=machine, own=own), kernel=kernel)


def once_module(kernel: kernels.Kernel, progress: Progress) -> Path:
    """The file of what re-arms once-only warnings of other people's modules. Raises KernelError."""
    images = kernels.project_root() / "images"
    modules = kernels.build_modules(kernel, images / HOST_MODULES, kernels.open_cache(), progress)
    return next(module for module in modules if module.name == ONCE_MODULE)


def pack_initrd(
    kernel: kernels.Kernel,
    image_name: str,
    progress: Progress,
    extra_modules: str | Sequence[str] | None = None,
    built_for: kernels.Kernel | None = None,
    more_files: Sequence[Path] = (),
) -> Path:
    """What ``kernel`` boots into: its modules, the agent, and the image packed around them. Raises KernelError.

    Modules of images/ are built for ``built_for``, whose fit ``kernel`` (None: for itself).
    """
    store = kernels.open_cache()
    images = kernels.project_root() / "images"
    built_for = built_for or kernel
    modules = kernels.build_modules(built_for, images / "modules", store, progress)
    names = [extra_modules] if isinstance(extra_modules, str) else list(extra_modules or ())
    if strict_line_of(kernel.configuration, kernel.arch):
        names.append(STRICT_FRAGMENT)
    drivers = host_modules(kernel)
    if drivers:
        names.append(HOST_MODULES)
    for name in names:
        modules += kernels.build_modules(built_for, images / name, store, progress)
    modules += (*dict.fromkeys(file for files in drivers.values() for file in files), *more_files)
    agent = kernels.build_agent(kernel.arch, images / "agent", store, progress)
    return kernels.build_image(image_name, kernel.arch, modules, agent, store, progress)


def host_modules(kernel: kernels.Kernel) -> dict[str, tuple[Path, ...]]:
    """The files that the driver of each host (devices/hosts) is loaded from, in order, where the kernel has it."""
    own = own_modules(kernel)
    found = {name: load_order(host.module, own) for name, host in hosts().items()} if own else {}
    return {name: files for name, files in found.items() if files}


def bootable(
    kernel: Path, initrd: Path, arch: str, configuration: str, accel: str | None, cmdline: tuple[str, ...] = ()
) -> GuestImage:
    """Files that boot, in the machine and with the words of ``configuration``. Raises ConfigError, QemuError."""
    cell = kernels.find_configuration(kernels.load_matrix(), configuration, arch)
    machine = find_machine(arch, cell.machine)
    accelerator = choose_accelerator(machine, kernel, kernels.open_cache().path("accelerators.json"), accel)
    line = strict_line_of(configuration, arch)
    words = (*cell.append, *cmdline)
    symbols = {}
    with contextlib.suppress(OSError):
        symbols = linked_symbols(kernel.with_name("System.map").read_text(), (*machine.cmdline, *words))
    return GuestImage(machine, kernel, initrd, accelerator, words, strict_line=line, symbols=symbols)


def described(
    image: GuestImage,
    config: str,
    release: str,
    arch: str,
    configuration: str,
    source: str,
    notes: tuple[str, ...] = (),
) -> tuple[KernelInfo, KernelFacts]:
    """What results say of a guest, and what expectations of it depend on; ``config`` is its kernel's whole .config.

    ``notes`` are those of its build.
    """
    sha256 = hashlib.sha256(config.encode()).hexdigest()
    facts = facts_of(config, release, image.machine, image.cmdline, image.strict_line)
    note = not_verified(release, kernels.load_matrix())
    return KernelInfo(release, arch, configuration, source, sha256, (*((note,) if note else ()), *notes)), facts


def facts_of(config: str, release: str, machine: Machine, cmdline: Sequence[str], line: int = 0) -> KernelFacts:
    """What is known of a kernel on one of the harness's own machines; ``line`` is KernelFacts' ``strict_line``."""
    facts = facts_from_config(config, machine.arch, release, machine.coherent, cmdline, machine.iommu)
    return replace(facts, machine=machine.variation, strict_line=line)


def model_kernel(kernel_source: str, configuration: str, arch: str) -> tuple[KernelFacts, KernelInfo]:
    """What the model must be: the kernel of this source and configuration as built, or as its fragments ask for it.

    A kernel that is not in the cache is not built for the model's sake. Raises KernelError, TargetError.
    """
    matrix = kernels.load_matrix()
    cell = kernels.find_configuration(matrix, configuration, arch)
    machine = find_machine(arch, cell.machine)
    line = strict_line(matrix, cell)
    cache = kernels.find_cache()
    identity = kernels.remembered(kernels.parse_source(kernel_source), cache)
    for kernel in kernels.list_kernels(cache):
        wanted = kernel.source_identity in (kernel_source, identity)
        wanted = wanted or kernel.source_identity.startswith(f"{kernel_source}=")
        if wanted and kernel.configuration == cell.kernel_name and kernel.arch == arch:
            info = KernelInfo(kernel.release, arch, configuration, kernel.source)
            return facts_of(kernel.config.read_text(), kernel.release, machine, cell.append, line), info
    version = _VERSION.search(kernel_source)
    if version is None:
        raise TargetError(
            f"the model cannot tell the version of '{kernel_source}': build it first, with "
            f"'dmasafe kernel build --config {configuration} {kernel_source}'"
        )
    text = resolve(matrix, configuration, arch, version[0]).text
    info = KernelInfo(version[0], arch, configuration, "the fragments of kernel-configs/")
    return facts_of(text, version[0], machine, cell.append, line), info


def _driver_file(path: Path) -> DriverFile:
    return DriverFile(path.name, *once_section(path))


def plugged(image: GuestImage, names: Sequence[str], facts: KernelFacts, progress: Progress) -> GuestImage:
    """The image with these controllers, as far as its kernel can have them, in the QEMU that they need.

    Raises KernelError where that cannot be had.
    """
    names = with_prover(names, facts) if image.untouched else names
    image = replace(image, controllers=plugged_for(names, facts))
    return replace(image, machine=with_vfio_user(image.machine, progress)) if image.plugs("vfio-user") else image


def with_vfio_user(machine: Machine, progress: Progress) -> Machine:
    """The machine with a QEMU that has vfio-user-pci: this system's own, else a newer one, fetched into the cache.

    Raises KernelError where it can be had from neither.
    """
    if has_vfio_user(machine.binary, machine.debian_package):
        return machine
    try:
        binary = newer_qemu(machine.binary, machine.debian_package, kernels.open_cache(), progress)
    except SourceError as cause:
        since = ".".join(map(str, VFIO_USER_SINCE))
        here = version_text(machine.binary, machine.debian_package) or "none"
        # The first line says what failed, the last one where the log is.
        told = str(cause).splitlines()
        raise SourceError(
            f"host models need QEMU {since} or later, this machine has {here}, and Debian's {SUITES[-1]} could not be "
            f"asked for a newer one: {'; '.join(dict.fromkeys((told[0], told[-1])))}"
        ) from cause
    return replace(machine, binary=str(binary))
