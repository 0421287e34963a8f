# SPDX-License-Identifier: GPL-2.0-or-later
"""What most slaves have in common: they never hold the clock, and a stop means nothing to them."""

from __future__ import annotations


class Quick:
    """The part of a slave (bus.py) that is the same for most."""

    stretch_s = 0.0

    def stop(self) -> None:
        """Nothing happens at a stop."""
