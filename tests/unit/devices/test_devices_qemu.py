# SPDX-License-Identifier: GPL-2.0-or-later
"""The installed QEMU accepts the device, as the guest's drivers need it."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from dmasafe.devices.client import DeviceProcess

QEMU = "qemu-system-x86_64"
QUIT_TIMEOUT_S = 30.0

pytestmark = pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed")


def test_qemu_starts_with_both_controllers_behind_the_dma_api(tmp_path: Path) -> None:
    with DeviceProcess(tmp_path) as devices:
        devices.wait_ready()
        command = [QEMU, "-machine", "q35,memory-backend=mem", "-accel", "tcg", "-nodefaults", "-display", "none"]
        command += ["-object", "memory-backend-memfd,id=mem,size=64M,share=on", "-m", "64M", "-S", "-monitor", "stdio"]
        for name in ("virtio", "dmasafe"):
            command += ["-chardev", f"socket,id={name},path={devices.socket(name)}"]
            # Without iommu_platform=on the guest bypasses the DMA API; with it QEMU is particular about back-ends.
            command += ["-device", f"vhost-user-i2c-pci,chardev={name},iommu_platform=on"]
        qemu = subprocess.run(
            command, input="info qtree\nquit\n", capture_output=True, text=True, timeout=QUIT_TIMEOUT_S, check=False
        )
        assert qemu.returncode == 0, qemu.stderr
        assert qemu.stderr == ""
        assert qemu.stdout.count("dev: vhost-user-i2c-device") == 2
        found = []
        deadline = time.monotonic() + QUIT_TIMEOUT_S
        while len(found) < 4 and time.monotonic() < deadline:
            devices.sync()
            found += devices.receive()
        assert sorted((e["ev"], e["controller"]) for e in found) == [
            ("connected", "dmasafe"),
            ("connected", "virtio"),
            ("disconnected", "dmasafe"),
            ("disconnected", "virtio"),
        ]
