# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong in this package that a user can correct."""

from dmasafe.errors import DmasafeError


class MatrixError(DmasafeError):
    """The family of this package."""


class StoreError(MatrixError):
    """The place where workers share what they made cannot be used."""


class RunError(MatrixError):
    """A run that cannot be begun or resumed."""


class BisectError(MatrixError):
    """A bisection that cannot be begun, or that found nothing."""
