# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated hardware: an I2C bus with slaves, and the controllers that carry it into a guest.

Nothing is imported here: ``python -m dmasafe.devices`` must be up before QEMU has mapped its memory.
"""
