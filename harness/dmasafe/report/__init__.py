# SPDX-License-Identifier: GPL-2.0-or-later
"""Results in the forms that people and tools read: terminal, JSON, JUnit XML, KTAP.

A row of verdicts (dmasafe.outcome.Judgement) becomes a Results (results.py); every format is one module that takes
one Results; directory.py puts them where `out/latest` points; progress.py shows what happens until then.
"""

from dmasafe.errors import DmasafeError


class ReportError(DmasafeError):
    """A report that could not be written or read; the sentence says what to do."""
