# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong in this package that a user can correct."""

from dmasafe.errors import DmasafeError


class MatrixError(DmasafeError):
    """The family of this package."""


class HistoryError(MatrixError):
    """A history that cannot be opened, read or written."""


class RecordError(MatrixError):
    """A run that cannot be recorded."""


class SelectionError(MatrixError):
    """Runs, nights or revisions that the history does not have."""


class SiteError(MatrixError):
    """A report that cannot be written."""


class PlanError(MatrixError):
    """A selection, a source or a cell that does not exist."""


class ExportError(MatrixError):
    """Runs that another system cannot take as they were asked for."""


class StoreError(MatrixError):
    """The place where workers share what they made cannot be used."""


class EngineError(MatrixError):
    """No scheduler, no workers, or they are gone."""


class RunError(MatrixError):
    """A run that cannot be begun or resumed."""


class BisectError(MatrixError):
    """A bisection that cannot be begun, or that found nothing."""
