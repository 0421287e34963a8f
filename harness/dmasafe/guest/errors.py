# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest room's error family."""

from dmasafe.errors import DmasafeError


class GuestError(DmasafeError):
    """The guest does not answer, or answers what the protocol does not know."""


class ChannelClosed(GuestError):
    """The other end of the agent's channel is gone."""
