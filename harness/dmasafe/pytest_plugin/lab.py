# SPDX-License-Identifier: GPL-2.0-or-later
"""One worker's laboratory: the kernel under test, prepared once, and the boot that its tests share.

A boot is replaced when its scope ends (see --dmasafe-boot-scope), and when it was lost or can no longer be trusted.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from dmasafe.closing import Closing
from dmasafe.dmesg import Symbols
from dmasafe.errors import DmasafeError
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.progress import SILENT, Progress, Stage
from dmasafe.pytest_plugin.errors import Inconclusive
from dmasafe.pytest_plugin.model_window import ModelWindow
from dmasafe.pytest_plugin.pci import marked
from dmasafe.pytest_plugin.qemu_window import QemuWindow
from dmasafe.pytest_plugin.settings import Settings
from dmasafe.pytest_plugin.window import Window
from dmasafe.qemu.machines import Machine
from dmasafe.targets import audit
from dmasafe.targets.boot import GuestImage
from dmasafe.targets.errors import BootLost
from dmasafe.targets.model import ModelTarget
from dmasafe.targets.own import OwnDriver
from dmasafe.targets.prepare import Prepared, model_kernel, prepare, with_vfio_user
from dmasafe.targets.shared_boot import PROBE, SharedBoot, trusted_boot

# A busy machine can be too slow for a guest once.
BOOTS_TRIED = 3


class Lab(Protocol):
    """A context manager that makes a Window for each test."""

    def window(self, item: pytest.Item) -> Window:
        """Begin a test. Raises DmasafeError if there is nothing to run it on."""

    def __enter__(self) -> Lab: ...

    def __exit__(self, *_: object) -> None: ...


def open_lab(settings: Settings, directory: Path, config: pytest.Config) -> Lab:
    """Prepare the target that the user chose; the first time this builds a kernel. Raises DmasafeError."""
    progress = _Stages(config)
    source = settings.source()
    if settings.target == "model":
        facts, info = model_kernel(source, settings.configuration, settings.arch)
        return ModelLab(facts, info)
    prepared = prepare(
        source,
        settings.configuration,
        settings.arch,
        settings.accel or None,
        progress,
        extra_modules=None if settings.audit == "off" else audit.SOURCES,
        image_name=settings.image,
    )
    return QemuLab(prepared, settings, directory, progress)


class QemuLab(Closing):
    """Guests from one image, one at a time."""

    def __init__(self, prepared: Prepared, settings: Settings, directory: Path, progress: Progress) -> None:
        self._prepared = prepared
        self._progress = progress
        # The machine with a QEMU that can have PCI functions in Python, once a test needs it.
        self._functional: Machine | None = None
        self._scope = settings.boot_scope
        self._audit = settings.audit
        self._directory = directory
        self._boot: SharedBoot | None = None
        self._key = ""
        self._boots = 0
        # Reading a whole kernel takes seconds: only if there is something to find, and once.
        has_lines = prepared.facts.has("DEBUG_INFO")
        self._symbols = Symbols(prepared.build.vmlinux, {}) if has_lines else None

    def window(self, item: pytest.Item) -> QemuWindow:
        function = marked(item)
        key = f"{function} {_scope_key(item, self._scope)}"
        if self._boot is not None and (self._boot.ended or key != self._key):
            self.close()
        boot = self._boot
        if boot is not None:
            try:
                boot.begin(item.nodeid)
            except DmasafeError:
                # It died between two tests: nobody's fault that can be told.
                self.close()
                boot = None
        if boot is None:
            boot = self._trusted_boot(self._image(item, function))
            self._boot, self._key = boot, key
            boot.begin(item.nodeid)
        return QemuWindow(item, boot, self._prepared, self._symbols, strict=self._audit == "strict")

    def _image(self, item: pytest.Item, function: str) -> GuestImage:
        """What is booted for a test whose PCI function is this one."""
        image = self._prepared.image
        own = OwnDriver((), function, (str(item.path.parent), *(entry or str(Path.cwd()) for entry in sys.path)))
        if own.function is None:
            return image
        if self._functional is None:
            self._functional = with_vfio_user(image.machine, self._progress)
        return replace(image, machine=self._functional, own=own)

    def _trusted_boot(self, image: GuestImage) -> SharedBoot:
        for _ in range(BOOTS_TRIED - 1):
            with contextlib.suppress(BootLost):
                return self._new_boot(image)
        return self._new_boot(image)

    def _new_boot(self, image: GuestImage) -> SharedBoot:
        self._boots += 1
        directory = self._directory / f"boot-{self._boots}"
        boot = trusted_boot(image, self._prepared.kernel, self._prepared.facts, directory)
        with contextlib.ExitStack() as undo:
            undo.callback(boot.end)
            if self._audit != "off":
                boot.watch()
            undo.pop_all()
        return boot

    def close(self) -> None:
        if self._boot is not None:
            self._boot.end()
            self._boot = None


class ModelLab(Closing):
    """A new model kernel for every test."""

    def __init__(self, facts: KernelFacts, kernel: KernelInfo) -> None:
        self._facts = facts
        self._kernel = kernel

    def _start(self) -> None:
        if not ModelTarget(self._facts, self._kernel).run([PROBE], frozenset(), SILENT).canary_splatted:
            raise Inconclusive("the model's canary did not splat")

    def window(self, item: pytest.Item) -> ModelWindow:
        return ModelWindow(item, self._facts, self._kernel)


def _scope_key(item: pytest.Item, scope: str) -> str:
    if scope == "session":
        return ""
    if scope == "function":
        return item.nodeid
    holder = item.getparent(pytest.Class) or item.getparent(pytest.Module)
    return holder.nodeid if holder is not None else item.nodeid


class _Stages:
    """Says on the terminal what takes minutes the first time: nobody waits that long for a silent program."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = config.pluginmanager.getplugin("terminalreporter")
        self._capture = config.pluginmanager.getplugin("capturemanager")

    def stage(self, text: str) -> None:
        if self._terminal is None:
            return
        capture = self._capture
        with capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext():
            self._terminal.write_line(f"dmasafe: {text}")

    def advance(self, done: int, total: int | None, text: str) -> None:
        """Too much for a test run."""

    def stages(self) -> tuple[Stage, ...]:
        return ()
