# SPDX-License-Identifier: GPL-2.0-or-later
"""The qemu room's error family."""

from dmasafe.errors import DmasafeError


class QemuError(DmasafeError):
    """QEMU is missing, did not start, or did not answer."""
