# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies of drivers whose hardware is not modelled here, and of i2c-virtio, whose device is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from errno import EIO, ENXIO, EREMOTEIO

from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2cAdapterQuirks

# Lines are those of the drivers in drivers/i2c/busses of Linux 7.3; where nothing else is said 6.12 does the same.
VIRTIO = HostPolicy(
    "i2c_virtio at virtio bus",
    rules=(
        Rule(Path.PIO, "virtio_i2c_prepare_reqs() 84: no buffer in the request", most=0),
        Rule(Path.HELPER, "virtio_i2c_prepare_reqs() 85, virtqueue_add_sgs() maps", least=1),
    ),
    nak=(Ending(EIO, "fewer messages than were asked for; nothing is copied", "122, 128"),),
    lost=(Ending(EIO, "as for a missing acknowledgement: the device tells no more", "122"),),
    timeout=(
        Ending(
            EIO,
            "waits without end; a signal ends that, and the buffers are given back while the device has them",
            "120, 128",
            unsafe=True,
        ),
    ),
    timeout_s=0.0,
    maps_for="parent",
)

CPM = HostPolicy(
    "i2c-cpm",
    rules=(Rule(Path.OWN, "cpm_i2c_parse_message() 233, cpm_i2c_check_message() 276: coherent, 514 bytes each"),),
    nak=(Ending(ENXIO, "closes the buffer descriptors", "263, 387"),),
    lost=(Ending(EIO, "closes the buffer descriptors", "289, 387"),),
    timeout=(Ending(EREMOTEIO, "closes the buffer descriptors", "362, 387"),),
    timeout_s=1.0,  # 356
    quirks=I2cAdapterQuirks(max_num_msgs=4, max_read_len=513, max_write_len=513),  # 410
    notes=("PowerPC only: its buffer descriptors are in the processor's dual-ported memory",),
)

# Why there is no hardware for each.
UNMODELLED: Mapping[str, tuple[HostPolicy, str]] = {
    "virtio": (VIRTIO, "its device is dmasafe's own, over vhost-user"),
    "cpm": (CPM, "PowerPC only, and no machine of QEMU's has its communication processor"),
}
