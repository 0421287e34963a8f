# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: options, hooks and fixtures for tests of other people's I2C drivers. docs/pytest.md is its manual.

Loaded by every pytest run on the machine: this file imports nothing but pytest and the standard library. The rest of
the package comes with the first test that asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprEntryNative, ReprTraceback

from dmasafe.pytest_plugin.options import OPTIONS

if TYPE_CHECKING:
    from dmasafe.model import ModelKernel
    from dmasafe.pytest_plugin.bus import PluginBus
    from dmasafe.pytest_plugin.dmesg import Dmesg
    from dmasafe.pytest_plugin.guest import Guest
    from dmasafe.pytest_plugin.lab import Lab
    from dmasafe.pytest_plugin.module import ModuleLoader
    from dmasafe.pytest_plugin.pci import PciLoader
    from dmasafe.pytest_plugin.window import PluginTarget, Window

_WINDOW: pytest.StashKey[Window] = pytest.StashKey()
_SECTION = "dmasafe"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dmasafe", "DMA safety of Linux I2C drivers, on a kernel in QEMU")
    for option in OPTIONS:
        group.addoption(option.flag, dest=option.ini, metavar=option.metavar, choices=option.choices, help=option.help)
        parser.addini(option.ini, f"default of {option.flag}: {option.help}")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "dmasafe_pci(function=CLASS): the guest has this PCI function, a class of dmasafe.devices.pci.PciFunction",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test that used a fixture of ours passes only if nothing was left unsaid and the run can be trusted."""
    try:
        result = yield
    except pytest.skip.Exception:
        raise
    except BaseException as error:
        window = item.stash.get(_WINDOW, None)
        # pytest's own Failed is no Exception; Ctrl-C is none of ours.
        ours = window is not None and isinstance(error, Exception | pytest.fail.Exception)
        reason = window.distrusted(error) if window is not None and ours else None
        if reason is not None:
            raise pytest.fail.Exception(f"INCONCLUSIVE: {reason}", pytrace=False) from error
        raise
    window = item.stash.get(_WINDOW, None)
    if window is not None:
        complaint = window.complaint()
        if complaint is not None:
            raise pytest.fail.Exception(complaint, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    window = item.stash.get(_WINDOW, None)
    if window is None:
        return report
    if window.inconclusive is not None and hasattr(report, "wasxfail"):
        # Nobody can expect a failure of which it is not known whether it happened.
        del report.wasxfail
        report.outcome = "failed"
    if report.failed:
        _put_first(report, window.accounts())
        text = window.section()
        if text:
            report.sections.append((_SECTION, text))
    return report


def _put_first(report: pytest.TestReport, accounts: list[str]) -> None:
    """A driver's errno fails a test late: why it came is told before, in the short summary and in JUnit XML too."""
    said = report.longreprtext
    new = [account for account in accounts if account.partition("\n")[0] not in said]
    if not new:
        return
    text = "\n".join(new)
    crash = getattr(report.longrepr, "reprcrash", None)
    if not isinstance(report.longrepr, ExceptionChainRepr) or crash is None:
        report.longrepr = f"{text}\n{said}"
        return
    *before, (trace, _, link) = report.longrepr.chain
    own = ReprTraceback([ReprEntryNative([f"{line}\n" for line in text.splitlines()])], None, "native")
    headline = "; ".join(account.partition("\n")[0] for account in new)
    crash = replace(crash, message=f"{headline}\nthe test: {crash.message}")
    chain = [(own, None, "After that the test failed with:"), *before, (trace, crash, link)]
    report.longrepr = ExceptionChainRepr(chain)


@pytest.fixture(scope="session")
def _dmasafe_lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Lab, None, None]:
    from dmasafe.errors import DmasafeError
    from dmasafe.pytest_plugin.lab import open_lab
    from dmasafe.pytest_plugin.settings import Settings

    try:
        lab = open_lab(Settings.of(request.config), tmp_path_factory.mktemp("dmasafe"), request.config)
    except DmasafeError as error:
        raise pytest.fail.Exception(f"dmasafe: {error}", pytrace=False) from None
    with lab:
        yield lab


@pytest.fixture
def _dmasafe_window(request: pytest.FixtureRequest, _dmasafe_lab: Lab) -> Generator[Window, None, None]:
    from dmasafe.errors import DmasafeError

    try:
        window = _dmasafe_lab.window(request.node)
    except DmasafeError as error:
        raise pytest.fail.Exception(f"INCONCLUSIVE: {error}", pytrace=False) from None
    request.node.stash[_WINDOW] = window
    yield window
    late = window.close()
    if late is not None:
        pytest.fail(late, pytrace=False)


@pytest.fixture
def dmasafe_target(_dmasafe_window: Window) -> PluginTarget:
    """Where the test runs: its name, its kernel's facts, and ``run(scenario)`` for scenarios of dmasafe's own."""
    return _dmasafe_window.target


@pytest.fixture
def dmasafe_guest(_dmasafe_window: Window) -> Guest:
    """The booted guest: files, modules, commands, adapters. Skips on the target ``model``."""
    return _dmasafe_window.guest()


@pytest.fixture
def dmasafe_bus(_dmasafe_window: Window) -> PluginBus:
    """The I2C bus behind every adapter: ``plug()`` slaves into it, read back what the device saw."""
    return _dmasafe_window.bus


@pytest.fixture
def dmasafe_module(_dmasafe_window: Window) -> ModuleLoader:
    """``dmasafe_module(directory, ...)`` builds a module for the kernel under test and loads it."""
    return _dmasafe_window.modules()


@pytest.fixture
def dmasafe_pci(_dmasafe_window: Window) -> PciLoader:
    """``dmasafe_pci(directory, ...)`` loads a controller driver for the PCI function of the test's mark."""
    return _dmasafe_window.pci()


@pytest.fixture
def dmasafe_dmesg(_dmasafe_window: Window) -> Dmesg:
    """What the kernel has said since the test began: ``assert_clean()``, ``expect("map-stack")``, ``splats``."""
    return _dmasafe_window.dmesg()


@pytest.fixture
def dmasafe_model(_dmasafe_window: Window) -> ModelKernel:
    """The model kernel on the test's bus. Skips on every other target than ``model``."""
    return _dmasafe_window.model()
