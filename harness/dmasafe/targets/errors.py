# SPDX-License-Identifier: GPL-2.0-or-later
"""The error family of targets."""

from __future__ import annotations

from dmasafe.errors import DmasafeError, os_sentence


class TargetError(DmasafeError):
    """A target that does not exist or cannot be prepared."""


class BootLost(TargetError):
    """The guest, QEMU or the device process is gone or silent; the sentence says which and how."""


class HostTrouble(TargetError):
    """This machine, not the guest, is in the way: a disk is full, a directory gone. Another boot would not help."""

    @classmethod
    def writing(cls, name: object, error: OSError) -> HostTrouble:
        """The sentence for a file that cannot be written."""
        return cls(os_sentence("write", name, error, "set TMPDIR to another place"))
