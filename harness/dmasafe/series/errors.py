# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong in this package that a user can correct."""

from dmasafe.errors import DmasafeError


class SeriesError(DmasafeError):
    """A series that cannot be found, applied or looked at."""
