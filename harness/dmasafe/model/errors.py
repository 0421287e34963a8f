# SPDX-License-Identifier: GPL-2.0-or-later
"""The model's error family: misuse of the model, and what ends or blocks a task of the modelled kernel."""

from dmasafe.errors import DmasafeError


class ModelError(DmasafeError):
    """A call that no kernel could carry out: an unknown adapter, kfree() of memory that was never allocated, ..."""


class Unsupported(ModelError):
    """A buffer kind or operation that this kernel, or the client, cannot have; the sentence is the reason."""


class KernelPanic(Unsupported):
    """An oops where no task can be ended for it: the kernel takes everything down, and nobody is left to answer."""


class KernelDied(ModelError):
    """The calling task ended in a BUG or an oops; the kernel's log holds the report, locks stay held."""


class TaskHung(ModelError):
    """The calling task would sleep for ever, such as on the lock of an adapter whose last user died."""
