# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: accelerators chosen by proof, machines per architecture, and the process with its QMP."""

from dmasafe.errors import DmasafeError


class QemuError(DmasafeError):
    """QEMU is missing, did not start, or did not answer."""
