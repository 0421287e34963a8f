# SPDX-License-Identifier: GPL-2.0-or-later
"""The targets room's error family."""

from harness.errors import DmasafeError


class TargetError(DmasafeError):
    """A target that does not exist or cannot be prepared."""


class BootLost(TargetError):
    """The guest, QEMU or the device process is gone or silent; the sentence says which and how."""
