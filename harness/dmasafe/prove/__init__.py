# SPDX-License-Identifier: GPL-2.0-or-later
"""What the check suspects of a client driver, put on a board that shows it: candidate in, proof out.

CheckResult -> Driver -> attempts on boards -> Evidence -> Verdict -> table, JSON, SARIF, page
               drivers.py     perform.py        judge.py     page.py
"""

from __future__ import annotations

from dmasafe.errors import DmasafeError


class ProveError(DmasafeError):
    """A candidate that does not exist, a file that is no result of the check's."""
