# SPDX-License-Identifier: GPL-2.0-or-later
"""Talking to a booted system: the agent's JSON lines and the serial console."""

from dmasafe.errors import DmasafeError


class GuestError(DmasafeError):
    """The guest does not answer, or answers what the protocol does not know."""


class ChannelClosed(GuestError):
    """The other end of the agent's channel is gone."""
