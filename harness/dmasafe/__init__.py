# SPDX-License-Identifier: GPL-2.0-or-later
"""dmasafe: may DMA touch this buffer? A QEMU-backed test harness for Linux I2C drivers."""
