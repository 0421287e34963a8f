# SPDX-License-Identifier: GPL-2.0-or-later
"""A controller whose driver is the user's own: what the driver promises to do with buffers is a policy, too."""

from __future__ import annotations

from dmasafe.carriers.controller import Controller, Where
from dmasafe.carriers.policy import DMASAFE, POLICIES
from dmasafe.carriers.virtio import VIRTIO

# What i2c-virtio does: the virtio core maps pages, whose kind dma-debug does not check.
AS_VIRTIO = "virtio"

OWN = Controller(
    "own",
    "a controller whose driver is the user's own (docs/pci.md)",
    policies=(*POLICIES, AS_VIRTIO),
    like={**{policy: (DMASAFE.name, policy) for policy in POLICIES}, AS_VIRTIO: (VIRTIO.name, None)},
    places=frozenset({Where.GUEST}),
    elsewhere="the user's own driver is loaded into guests only: dmasafe run --controller DIR",
    reads_blocks=False,
)
