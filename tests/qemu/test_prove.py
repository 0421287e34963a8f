# SPDX-License-Identifier: GPL-2.0-or-later
"""Suspects on boards: an upstream driver, unmodified, and the kernel's own report; and a chip for SPI in Python."""

import json

import pytest

from dmasafe import scratch
from dmasafe.devices.slaves.max31722 import CONFIGURATION, Max31722
from dmasafe.guest.hands import Hands
from dmasafe.kernel import fetch, open_cache, parse_source
from dmasafe.kernel.build import find_kernel
from dmasafe.progress import SILENT
from dmasafe.prove.perform import DIRECTORY, MODULE, SOURCES
from dmasafe.targets.prepare import prepare
from dmasafe.targets.shared_boot import SharedBoot
from tests.slow import slow

DRIVER = "drivers/hwmon/max31722.c"
ADDRESS = 0x48
pytestmark = [slow, pytest.mark.timeout(900)]


def built(source, configuration):
    """The kernel's source, if it is built: these configurations take a quarter of an hour."""
    cache = open_cache()
    if find_kernel(fetch(parse_source(source), cache, SILENT), configuration, "x86_64", cache) is None:
        pytest.skip(f"not built: dmasafe kernel build --config {configuration} {source}")
    return source


def test_a_suspect_is_proved_with_the_kernels_report(dmasafe):
    source = built("apt:linux-source-7.3", "probes")
    said = json.loads(dmasafe("prove", DRIVER, "--again", "--kernel", source, "--format", "json", check=1).stdout)
    (one,) = said["results"]
    assert (one["status"], one["splat"]["class"], one["driver"]) == ("proved", "map-stack", "max31722")
    frames = {frame["function"]: frame["file"] for frame in one["splat"]["frames"] if frame["module"] == "max31722"}
    assert frames["max31722_set_mode"].endswith(DRIVER)


def test_a_chip_for_spi_in_python_is_a_slave():
    source = built("apt:linux-source-6.12", "upstream")
    prepared = prepare(source, "upstream", "x86_64", None, SILENT, extra_modules=SOURCES)
    with scratch.directory() as directory:
        shared = SharedBoot(prepared.image, prepared.kernel, prepared.facts, directory)
        try:
            shared.start()
            assert shared.distrust() is None
            shared.begin("spi")
            hands = Hands(shared.boot.request)
            hands.load(f"/modules/{MODULE}.ko")
            chip = Max31722(0x1B40)
            shared.boot.device.plug({ADDRESS: chip})
            bus = shared.boot.adapters["virtio"]
            hands.write(f"{DIRECTORY}/new", f"3 max31722 - i2c:{bus}:{ADDRESS:#x}")
            command = "cat /sys/bus/spi/devices/spi1003.0/hwmon/hwmon*/temp1_input"
            assert hands.run(command, 20).output.strip() == "27250"
            shared.boot.sync_device()
            shared.boot.device.update_slaves()
            assert chip.registers[CONFIGURATION] != 0
            hands.write(f"{DIRECTORY}/delete", "3")
        finally:
            shared.end()
