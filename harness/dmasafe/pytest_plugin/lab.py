# SPDX-License-Identifier: GPL-2.0-or-later
"""One worker's laboratory: the kernel under test, prepared once, and the boot that its tests share.

A boot is replaced when its scope ends (see --dmasafe-boot-scope), and when it was lost or can no longer be trusted.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Protocol

import pytest

from dmasafe.closing import Closing
from dmasafe.dmesg import Symbols
from dmasafe.errors import DmasafeError
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.progress import SILENT, Stage
from dmasafe.pytest_plugin.errors import Inconclusive
from dmasafe.pytest_plugin.model_window import ModelWindow
from dmasafe.pytest_plugin.qemu_window import QemuWindow
from dmasafe.pytest_plugin.settings import Settings
from dmasafe.pytest_plugin.window import Window
from dmasafe.targets import audit
from dmasafe.targets.errors import BootLost
from dmasafe.targets.model import ModelTarget
from dmasafe.targets.prepare import Prepared, model_kernel, prepare
from dmasafe.targets.shared_boot import PROBE, SharedBoot

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
    return QemuLab(prepared, settings, directory)


class QemuLab(Closing):
    """Guests from one image, one at a time."""

    def __init__(self, prepared: Prepared, settings: Settings, directory: Path) -> None:
        self._prepared = prepared
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
        key = _scope_key(item, self._scope)
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
            boot = self._trusted_boot()
            self._boot, self._key = boot, key
            boot.begin(item.nodeid)
        return QemuWindow(item, boot, self._prepared, self._symbols, strict=self._audit == "strict")

    def _trusted_boot(self) -> SharedBoot:
        for _ in range(BOOTS_TRIED - 1):
            with contextlib.suppress(Inconclusive, BootLost):
                return self._new_boot()
        return self._new_boot()

    def _new_boot(self) -> SharedBoot:
        self._boots += 1
        directory = self._directory / f"boot-{self._boots}"
        directory.mkdir()
        boot = SharedBoot(self._prepared.image, self._prepared.kernel, self._prepared.facts, directory)
        with contextlib.ExitStack() as undo:
            undo.callback(boot.end)
            boot.start()
            reason = boot.distrust()
            if reason is not None:
                raise Inconclusive(reason)
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
