# SPDX-License-Identifier: GPL-2.0-or-later
"""The error family of the emulated hardware."""

from __future__ import annotations

import sys
import traceback

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


def failure(error: Exception, kind: object) -> str:
    """An exception of somebody else's ``kind`` (a class, a function) in words, with the line of its file under way."""
    own = getattr(sys.modules.get(getattr(kind, "__module__", "")), "__file__", None)
    calls = traceback.extract_tb(error.__traceback__)
    call = next((call for call in reversed(calls) if call.filename == own), None)
    place = "" if call is None else f" at {call.filename}:{call.lineno}"
    return f"{type(error).__name__}: {error}{place}"
