# SPDX-License-Identifier: GPL-2.0-or-later
"""USB-to-I2C bridges as usbredir devices: what QEMU's ``usb-redir`` plugs into the guest's USB host controller.

Bytes from QEMU go through usbredir.py (packets), redirection.py (transfers) and device.py (USB itself) to the bridge.
"""
