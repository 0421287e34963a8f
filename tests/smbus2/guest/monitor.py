# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: what pyudev sees come and go, a JSON object a line. The kernel's own events, as no udevd runs."""

import json
import sys
from pathlib import Path

import pyudev

SUBSYSTEMS = ("pci", "virtio", "i2c", "i2c-dev")


def main():
    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
    for subsystem in SUBSYSTEMS:
        monitor.filter_by(subsystem)
    monitor.start()
    print(json.dumps({"action": "ready"}), flush=True)
    for device in iter(monitor.poll, None):
        node = device.device_node
        event = {
            "action": device.action,
            "subsystem": device.subsystem,
            "name": device.sys_name,
            "node": node,
            "there": node is not None and Path(node).exists(),
        }
        print(json.dumps(event), flush=True)


sys.exit(main())
