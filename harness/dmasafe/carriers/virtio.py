# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's i2c-virtio, on a vhost-user device."""

from functools import partial

from dmasafe.carriers.controller import Controller, Plug
from dmasafe.carriers.drivers import QueueDriver
from dmasafe.carriers.suites import UPSTREAM, upstream

VIRTIO = Controller(
    "virtio",
    "upstream i2c-virtio on a vhost-user device",
    scenarios={UPSTREAM: partial(upstream, "virtio", (1, 8, 32))},
    needs=("I2C_VIRTIO",),
    absent="i2c-virtio came with Linux 5.15; this kernel does not have CONFIG_{symbol}",
    model=QueueDriver("i2c_virtio at virtio bus 0"),
    always=True,
    plug=Plug("vhost-user", 0xA),
    driver="virtio-pci",
    reads_blocks=False,
    queues=True,
)
