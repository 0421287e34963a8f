# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong in this room that a user can mend."""

from harness.errors import DmasafeError


class MatrixError(DmasafeError):
    """The family of this room."""


class HistoryError(MatrixError):
    """A history that cannot be opened, read or written."""


class RecordError(MatrixError):
    """A run that cannot be recorded."""


class SelectionError(MatrixError):
    """Runs, nights or revisions that the history does not have."""


class SiteError(MatrixError):
    """A report that cannot be written."""
