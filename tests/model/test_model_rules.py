# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules that mutants of the model showed to be untested, and its constants against the kernel's own headers."""

import errno
import re
from pathlib import Path

import pytest

from dmasafe.dmesg import parse
from dmasafe.model import Config, ModelKernel, i2c, i2cdev, predict, smbus
from dmasafe.model.bus import SlaveBus, StandardBus
from dmasafe.model.dma_debug import MESSAGES
from dmasafe.outcome import Outcome, Skip
from dmasafe.scenario import parse_scenario

FIXTURES = Path(__file__).parents[1] / "fixtures"
UAPI = Path("/usr/include/linux")
VERSIONS = ("5.10", "6.1", "6.12", "7.2")


def defined(header):
    """NAME -> value of a header's plain numbers."""
    if not (UAPI / header).exists():
        pytest.skip(f"{UAPI / header} is not installed (linux-libc-dev)")
    rows = re.findall(r"^#define\s+(I2C_\w+)\s+(0x[0-9a-fA-F]+|\d+)\b", (UAPI / header).read_text(), re.MULTILINE)
    return {name: int(value, 0) for name, value in rows}


@pytest.mark.parametrize("header", ["i2c.h", "i2c-dev.h"])
def test_constants_are_those_of_the_kernels_headers(header):
    wanted = defined(header)
    for module in (i2c, smbus, i2cdev):
        for name, value in vars(module).items():
            if name in wanted:
                assert (name, value) == (name, wanted[name])


def test_errnos_are_linuxs():
    names = [name for name in vars(i2c) if re.fullmatch(r"E[A-Z]+", name)]
    # EPROBE_DEFER and its like are the kernel's own.
    assert names and all(getattr(i2c, name) == getattr(errno, name) for name in names if hasattr(errno, name))


def test_the_functionality_of_smbus_emulation_is_the_headers_sum():
    wanted = defined("i2c.h")
    parts = ("QUICK", "BYTE", "BYTE_DATA", "WORD_DATA", "PROC_CALL", "WRITE_BLOCK_DATA", "I2C_BLOCK", "PEC")
    one_way = {"BYTE", "BYTE_DATA", "WORD_DATA", "I2C_BLOCK"}
    total = 0
    for part in parts:
        names = (f"READ_{part}", f"WRITE_{part}") if part in one_way else (part,)
        total |= sum(wanted[f"I2C_FUNC_SMBUS_{name}"] for name in names)
    assert total == i2c.I2C_FUNC_SMBUS_EMUL


@pytest.mark.parametrize("log", sorted((FIXTURES / "dmesg").glob("recorded-*.log")), ids=lambda path: path.stem)
def test_reports_stand_where_real_kernels_have_them(log):
    version = log.stem.split("-")[1]
    for splat in parse(log.read_text(errors="replace").splitlines()):
        message = MESSAGES.get(splat.splat_class)
        if message is None or splat.file != "kernel/dma/debug.c" or splat.function != message.function:
            continue
        assert splat.line == message.lines[VERSIONS.index(version)]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("heap/master_send/dmasafe:bounce/8@20", Outcome.SAFE),
        ("heap/master_send/dmasafe:bounce/8@50", Outcome.SAFE),
        ("heap/master_recv/dmasafe:bounce/8@51", Outcome.SAFE),
        ("heap/master_recv/dmasafe:bounce/1@68", Outcome.SAFE),
        ("heap/master_send/dmasafe:bounce/1@60", Outcome.SAFE),
        ("heap/master_send/dmasafe:bounce/2@60", Outcome.REFUSED),
        ("heap/master_recv/dmasafe:bounce/2@60", Outcome.SAFE),
        ("heap/master_send/dmasafe:bounce/8@21", Outcome.REFUSED),
        ("user/i2cdev_smbus/dmasafe:bounce/8@40+command=1+protocol=block_data+rd=1", Outcome.SAFE),
        ("user/i2cdev_smbus/virtio/8@40+command=1+protocol=block_data+rd=1", Outcome.SILENT),
    ],
)
def test_a_prediction_knows_who_is_on_the_bus(text, outcome):
    assert predict(parse_scenario(text), Config()).outcome == outcome


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("kmap/master_send/virtio/8", "HIGHMEM"),
        ("rodata/master_send/virtio/8", "KALLSYMS_ALL"),
        ("user/i2cdev_read/virtio/8", "I2C_CHARDEV"),
        ("heap/master_send/virtio/8", "I2C_VIRTIO"),
    ],
)
def test_what_cannot_exist_is_skipped_and_says_what_is_missing(text, symbol):
    skip = predict(parse_scenario(text), Config().disable(symbol))
    assert isinstance(skip, Skip) and f"CONFIG_{symbol}" in skip.why


def test_a_slave_that_serves_too_little_leaves_the_bus_high():
    class Short:
        stretch_s = 0.25
        stopped = 0

        def write(self, data):
            return -1

        def read(self, length):
            return b"\x01"

        def stop(self):
            self.stopped += 1

    slave = Short()
    bus = SlaveBus({0x10: slave})
    assert bus.transfer(0x10, True, 3, last=False) == ("", b"\x01\xff\xff", 0.25)
    assert slave.stopped == 0
    fate = bus.transfer(0x10, False, b"ab", last=False)
    assert fate.nak == "the slave did not acknowledge its address" and fate.data == b"" and slave.stopped == 1
    assert bus.transfer(0x11, True, 1).nak == "nobody acknowledged the address"


def test_the_standard_slaves_forget_and_never_repeat():
    bus = StandardBus()
    first, second = bus.transfer(0x30, True, 8).data, bus.transfer(0x30, True, 8).data
    assert first != second and len(set(first)) > 1
    bus.reset()
    assert bus.transfer(0x30, True, 8).data == first


def test_memory_that_a_device_is_given_by_name_has_its_mask():
    kernel = ModelKernel()
    dev = kernel.device("0000:00:07.0", "narrow", 0xFFFF)
    assert (dev.dma_mask, dev.coherent_dma_mask) == (0xFFFF, 0xFFFF)
    assert kernel.is_vmalloc_or_module_addr(kernel.vmalloc(8)) and not kernel.is_vmalloc_or_module_addr(
        kernel.kmalloc(8)
    )
