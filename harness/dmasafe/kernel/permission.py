# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel is built for, and whether it may be: chosen by a command, told or refused where a build begins."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple

from dmasafe.kernel.errors import KernelError

# A cold build of configuration "default" took 1,200 seconds of processor time in November 2026.
_BUILD_CPU_S = 1200


class NotBuilt(KernelError):
    """A kernel that is not in the cache, and that may not be built."""


class _Wish(NamedTuple):
    what_for: str = ""
    allowed: bool = True


_NOBODYS = _Wish()
_WISH: ContextVar[_Wish] = ContextVar("wish", default=_NOBODYS)


@contextlib.contextmanager
def building(what_for: str, allowed: bool) -> Iterator[None]:
    """Kernels that are built in here are for ``what_for`` (``dmasafe repro``); without ``allowed`` none is."""
    token = _WISH.set(_Wish(what_for, allowed))
    try:
        yield
    finally:
        _WISH.reset(token)


def may_build(what: str, how: str) -> None:
    """Raises NotBuilt where ``what`` may not be fetched or built; ``how`` is the command that does it."""
    if not _WISH.get().allowed:
        raise NotBuilt(f"{what} is not built, and --no-build forbids it: '{how}' builds it")


def announcement(jobs: int) -> str:
    """What to say where a build begins: for what it is, how long it takes, how to do without."""
    what_for = _WISH.get().what_for
    minutes = max(1, math.ceil(_BUILD_CPU_S / 60 / jobs))
    told = f"about {minutes} minute{'s' * (minutes > 1)} with {jobs} job{'s' * (jobs > 1)} if nothing is cached"
    return told + (f"; {what_for} needs it (--no-build does without)" if what_for else "")
