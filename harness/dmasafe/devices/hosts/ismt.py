# SPDX-License-Identifier: GPL-2.0-or-later
"""Intel's SMBus Message Transport (iSMT), a PCI function with a ring of descriptors: upstream i2c-ismt."""

from __future__ import annotations

from errno import EAGAIN, ENXIO, ETIMEDOUT

from dmasafe.devices.hosts.declaration import HostModel, Pci
from dmasafe.devices.hosts.policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-ismt.c in Linux 7.3.
POLICY = HostPolicy(
    "SMBus iSMT adapter at",
    rules=(
        # Quick commands and bytes that are sent are in the descriptor itself.
        Rule(Path.PIO, "ismt_access() 440-452", most=0),
        # priv->buffer, 48 bytes in the middle of a devm_kzalloc'ed struct, aligned to 16.
        Rule(Path.OWN, "ismt_access() 415, 605", least=1),
    ),
    nak=(Ending(ENXIO, "unmaps; nothing is copied", "632, ismt_process_desc() 366"),),
    lost=(Ending(EAGAIN, "unmaps; nothing is copied", "632, ismt_process_desc() 372"),),
    timeout=(
        Ending(
            ETIMEDOUT,
            "unmaps its buffer, then kills the transaction: until then the hardware has it",
            "632 before 635",
            unsafe=True,
        ),
    ),
    timeout_s=1.0,  # 628
    smbus=True,
    notes=(
        "a block read maps 32 bytes for an answer of up to 33, the count included (533, 353)",
        "a block process call maps 32 bytes for up to 34 that go out (546, 548)",
        "the buffer shares its cache lines with the driver's other state (178)",
        "a word process call maps 3 bytes in both directions (510)",
    ),
)

HOST = HostModel(
    "ismt",
    module="i2c-ismt",
    symbol="I2C_ISMT",
    architectures=("x86_64",),
    place=Pci(),
    policy=POLICY,
)
