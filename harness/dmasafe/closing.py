# SPDX-License-Identifier: GPL-2.0-or-later
"""Context managers that start when they are entered, and are closed in any case."""

from __future__ import annotations

from typing import Self


class Closing:
    """Starts in ``with``; what fails to start is closed too, so that it leaves nothing behind."""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        """Whatever there is to start."""

    def close(self) -> None:
        """Whatever there is to end; nothing if it was not started."""
