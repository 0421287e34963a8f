# SPDX-License-Identifier: GPL-2.0-or-later
"""The example of docs/pci.md in a guest, copied away as somebody would, and `dmasafe run --controller`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from dmasafe import kernel as kernels
from dmasafe.kernel.errors import KernelError
from dmasafe.progress import SILENT
from dmasafe.qemu.machines import find_machine
from dmasafe.targets.prepare import with_vfio_user

EXAMPLES = kernels.project_root() / "docs" / "examples"
RUN_TIMEOUT_S = 600


@pytest.fixture(scope="module")
def newer_qemu(guest):
    try:
        with_vfio_user(find_machine("x86_64"), SILENT)
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cases(tmp_path_factory, newer_qemu, kernel_of):
    """name -> failure's text, empty if it passed."""
    kernel_of("default+strict")
    directory = tmp_path_factory.mktemp("examples") / "mine"
    shutil.copytree(EXAMPLES, directory)
    (directory / "controller" / "test_theirs.py").write_text(THEIRS)
    tree = kernels.fetch(kernels.parse_source(kernels.DEFAULT_SOURCE), kernels.open_cache())
    upstream = (tree.path / "drivers/i2c/busses/i2c-virtio.c").read_text()
    assert '"i2c_virtio"' in upstream
    (directory / "controller" / "virtio").mkdir()
    (directory / "controller" / "virtio" / "theirs.c").write_text(upstream.replace('"i2c_virtio"', '"theirs"'))
    (directory / "controller" / "virtio" / "Kbuild").write_text("obj-m := theirs.o\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=junit.xml"],
        cwd=directory / "controller",
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    print(done.stdout, done.stderr)
    found = {}
    for element in ET.parse(directory / "controller" / "junit.xml").iter("testcase"):
        found[element.get("name")] = "\n".join(f"{child.get('message')}\n{child.text}" for child in element)
    return found


# What a function or a driver of somebody's does wrong.
THEIRS = """
import os
import time

import pytest
from demo_controller import DemoController
from dmasafe.devices.pci import Register


class Odd(DemoController):
    TARGET = Register("TARGET", 0x00, on_write="fail")

    def fail(self, value):
        raise ValueError(f"no target {value}")


@pytest.mark.dmasafe_pci(function=Odd)
def test_a_function_that_raises(dmasafe_pci):
    dmasafe_pci("fixed").run("heap/master_send/8")


class Stalled(DemoController):
    TARGET = Register("TARGET", 0x00, on_write=lambda self, value: time.sleep(6))


@pytest.mark.dmasafe_pci(function=Stalled)
def test_a_function_that_stalls(dmasafe_pci):
    dmasafe_pci("fixed").run("heap/master_send/8")


class Dies(DemoController):
    TARGET = Register("TARGET", 0x00, on_write=lambda self, value: os._exit(3))


@pytest.mark.dmasafe_pci(function=Dies)
def test_a_device_process_that_dies(dmasafe_pci):
    dmasafe_pci("fixed").run("heap/master_send/8")


class Line(DemoController):
    msi = 0


class Table(DemoController):
    msi, msix = 0, 2


@pytest.mark.dmasafe_pci(function=Line)
def test_an_interrupt_line(dmasafe_pci, dmasafe_guest):
    assert dmasafe_pci("fixed").failures("smoke") == {}
    assert "demo-i2c" in dmasafe_guest.read("/proc/interrupts")


@pytest.mark.dmasafe_pci(function=Table)
def test_messages_of_a_table(dmasafe_pci, dmasafe_guest):
    assert dmasafe_pci("fixed").failures("smoke") == {}
    (line,) = [line for line in dmasafe_guest.read("/proc/interrupts").splitlines() if "demo-i2c" in line]
    assert "MSI-X" in line or "MSIX" in line, line


@pytest.mark.dmasafe_pci(function=DemoController)
class TestDemo:
    def test_a_policy_that_is_not_kept(self, dmasafe_pci):
        judged = dmasafe_pci("fixed", policy="trusting").run("stack/master_send/8")
        assert judged.verdict == "FAIL" and judged.outcome == "SAFE"

    def test_two_drivers(self, dmasafe_pci):
        dmasafe_pci("fixed")
        dmasafe_pci("buggy")


def test_a_driver_of_the_virtio_function(dmasafe_pci):
    dmasafe_pci("fixed")


def test_a_copy_of_i2c_virtio(dmasafe_pci, dmasafe_guest):
    driver = dmasafe_pci("virtio", policy="virtio")
    # Twice into read-only memory: the first costs the task its life, with the adapter's lock in its hands.
    for scenario in 2 * ["rodata/master_recv/8"] + ["heap/master_recv/8"]:
        assert driver.run(scenario).verdict == "PASS", scenario
    assert devices_of("theirs", dmasafe_guest) and not devices_of("i2c_virtio", dmasafe_guest)


def test_i2c_virtio_has_its_function_back(dmasafe_guest):
    assert "own-dmasafe_once.ko" in dmasafe_guest.listdir("/tmp"), "this is another boot"
    assert devices_of("i2c_virtio", dmasafe_guest)


def devices_of(driver, guest):
    return [name for name in guest.listdir(f"/sys/bus/virtio/drivers/{driver}") if name.startswith("virtio")]
"""


@pytest.mark.parametrize(
    "name",
    [
        "test_the_driver_keeps_what_it_promises",
        "test_a_buffer_on_the_stack_is_bounced",
        "test_a_client_of_the_adapter",
        "test_the_drivers_mistake_is_found",
        "test_an_interrupt_line",
        "test_messages_of_a_table",
        "test_a_policy_that_is_not_kept",
        "test_a_copy_of_i2c_virtio",
        "test_i2c_virtio_has_its_function_back",
    ],
)
def test_the_example_passes(cases, name):
    assert cases[name] == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("test_a_function_that_raises", "own: Odd raised ValueError: no target 48 at"),
        ("test_a_function_that_stalls", "QEMU answered the guest in the place of a PCI function"),
        ("test_a_device_process_that_dies", "the emulated device's process died"),
        ("test_two_drivers", "has a driver already"),
        ("test_a_driver_of_the_virtio_function", "demo"),
    ],
)
def test_what_is_wrong_is_said(cases, name, why):
    assert why in cases[name]
