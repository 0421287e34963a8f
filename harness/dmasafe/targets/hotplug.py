# SPDX-License-Identifier: GPL-2.0-or-later
"""A root port of a running guest, and an emulated controller that is plugged into it and pulled out again.

q35's own bus does not hotplug; behind a root port QEMU announces functions through ACPI, so that the guest's kernel
needs the configuration fragment `hotplug`, which `board` has. Each plugging is a new connection to the same device,
whose slaves keep what they hold.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from dmasafe.qemu import QemuError
from dmasafe.qemu.process import QemuProcess
from dmasafe.targets.errors import TargetError
from dmasafe.targets.prepare import Prepared

PORT = "root-port"
# The last slot but q35's own.
PORT_SLOT = 0x1E
#: The guest's driver waits for whoever still uses the adapter.
UNPLUG_TIMEOUT_S = 15.0
_POLL_S = 0.05
_DEVICE = "plugged"
_CHARDEV = "plugged-socket"


def with_root_port(board: Prepared) -> Prepared:
    """The same board with an empty root port. Raises TargetError for a machine without hotplug."""
    machine = board.image.machine
    if not machine.hotplug:
        raise TargetError(f"guests of {machine.arch} have no root port for hotplug here")
    options = ("-device", f"pcie-root-port,id={PORT},chassis=1,addr={PORT_SLOT:#x}")
    return replace(board, image=replace(board.image, machine=replace(machine, options=(*machine.options, *options))))


class HotplugPort:
    """The root port of a guest that was made with with_root_port(). Everything raises QemuError.

    ``plugged`` from plug() until wait_empty() or unplug() has come to its end.
    """

    def __init__(self, qemu: QemuProcess) -> None:
        self._qemu = qemu
        self.plugged = False

    @property
    def occupied(self) -> bool:
        """Whether something is plugged in, or still on its way out."""
        return any(child.get("name") == _DEVICE for child in self._qemu.qmp("qom-list", path="/machine/peripheral"))

    def plug(self, socket: Path) -> None:
        """Plug in the controller that listens on ``socket``; the guest finds it on its own."""
        address = {"type": "unix", "data": {"path": str(socket)}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        self._qemu.qmp("chardev-add", id=_CHARDEV, backend=backend)
        self.plugged = True
        # iommu_platform: see dmasafe/qemu/process.py.
        options = {"driver": "vhost-user-i2c-pci", "id": _DEVICE, "bus": PORT, "chardev": _CHARDEV}
        self._qemu.qmp("device_add", **options, iommu_platform=True)

    def ask(self) -> None:
        """Ask the guest to let go of what is plugged in; it may take its time, or never do it."""
        self._qemu.qmp("device_del", id=_DEVICE)

    def wait_empty(self, timeout_s: float = UNPLUG_TIMEOUT_S) -> None:
        """Return when the guest has let go. Raises TargetError if it does not."""
        deadline = time.monotonic() + timeout_s
        while self.occupied:
            if time.monotonic() > deadline:
                raise TargetError(f"the guest did not let go of the controller within {timeout_s:g} s")
            time.sleep(_POLL_S)
        self._disconnect(deadline)

    def _disconnect(self, deadline: float) -> None:
        """Remove the connection, which the device keeps busy for a moment after it has left the tree."""
        while True:
            try:
                self._qemu.qmp("chardev-remove", id=_CHARDEV)
                self.plugged = False
                return
            except QemuError as error:
                if "is busy" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_S)

    def unplug(self, timeout_s: float = UNPLUG_TIMEOUT_S) -> None:
        """Ask, and wait until the port is empty. Raises TargetError if the guest does not let go."""
        self.ask()
        self.wait_empty(timeout_s)
