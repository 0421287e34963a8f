# SPDX-License-Identifier: GPL-2.0-or-later
"""Talking to a booted system: the agent's JSON lines and the serial console."""
