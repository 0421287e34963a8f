# SPDX-License-Identifier: GPL-2.0-or-later
"""The error family of the emulated hardware."""

from __future__ import annotations

from dmasafe.errors import DmasafeError


class DevicesError(DmasafeError):
    """The emulated hardware could not be started, died, or does not answer."""


class MemoryTableError(DevicesError):
    """A table of guest memory regions that cannot be: overlapping, overflowing, not mappable."""


class TraceError(DevicesError):
    """A trace line that is not one."""


class SlaveError(DevicesError):
    """A slave that cannot be plugged into the bus, or what became of one."""


class FunctionError(DevicesError):
    """A PCI function that is declared wrongly, or cannot be plugged in."""
