# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines whose mutants nobody can notice, with the reason: (file, a piece of the line, why)."""

EQUIVALENT: tuple[tuple[str, str, str], ...] = ()
