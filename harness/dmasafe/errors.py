# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of the error families: one family per package, each derived from DmasafeError.

The command line prints the sentence and exits; anything else is a bug and shows its traceback.
"""


class DmasafeError(Exception):
    """A failure whose cause is known; ``str(error)`` is one sentence that says what to do about it."""
