# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test is told: in one sentence, at the line of the test that asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

from dmasafe.errors import DmasafeError
from dmasafe.targets.errors import BootLost

P = ParamSpec("P")
T = TypeVar("T")


class PluginError(DmasafeError):
    """What a test asks for cannot be done."""


class RefusedByGuest(PluginError, OSError):
    """The guest said no: an OSError with the guest's errno and path."""


class Inconclusive(PluginError):
    """The run cannot be trusted; the sentence says why."""


def plainly(function: Callable[P, T]) -> Callable[P, T]:
    """Raises our own errors without the way they came: the traceback ends at the test's line."""

    @functools.wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except (pytest.fail.Exception, RefusedByGuest):
            raise
        except (BootLost, Inconclusive) as error:
            raise pytest.fail.Exception(f"INCONCLUSIVE: {error}") from None
        except DmasafeError as error:
            raise pytest.fail.Exception(str(error)) from None

    return told
