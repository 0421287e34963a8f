# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial console through pexpect: what is left to read when the agent no longer speaks."""

from __future__ import annotations

import socket
from typing import Any

import pexpect
from pexpect.fdpexpect import fdspawn

# What a kernel says on its console when it is beyond recovery. The console is quiet otherwise: only panic() and
# oops_enter() raise its log level.
_PANIC = b"Kernel panic - not syncing: "
# What it, or init, says before something that it may or may not survive.
_SYMPTOMS = (
    b"watchdog: BUG: soft lockup",
    b"Out of memory: Killed process",
    b"dmasafe: the agent ended",
)
_LONGEST_BYTES = max(map(len, (_PANIC, *_SYMPTOMS)))
_KEEP_BYTES = 4096
# The rest of a line that has begun to arrive.
_REST_OF_LINE_S = 0.2


class Console:
    """A guest's serial console; QEMU itself writes the whole of it to a log file."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        # Not SocketSpawn: with no time to wait it fails where fdspawn says TIMEOUT.
        self._spawn: Any = fdspawn(sock.fileno(), timeout=0, maxread=65536, use_poll=True)
        self._open = True
        self.symptom: str | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def open(self) -> bool:
        """False once QEMU has closed its end."""
        return self._open

    def last_words(self) -> str | None:
        """Read what is there; the panic's line if one came by since the last call, else None.

        The first of other symptoms is only remembered, in ``symptom``: a slow guest recovers from a soft lockup.
        """
        found: str | None = None
        # Exact strings: a regular expression over every chunk of an oops would cost more than the rest of the run.
        patterns = [_PANIC, *_SYMPTOMS, pexpect.EOF, pexpect.TIMEOUT]
        end = len(patterns) - 2
        while self._open:
            index = self._spawn.expect_exact(patterns, timeout=0)
            if index < end:
                self._spawn.expect_exact([b"\n", pexpect.EOF, pexpect.TIMEOUT], timeout=_REST_OF_LINE_S)
                line = patterns[index] + (self._spawn.before or b"").rstrip()
                if index == 0:
                    found = found or line.decode(errors="replace")
                else:
                    self.symptom = self.symptom or line.decode(errors="replace")
                continue
            if index == end:
                self._open = False
            # pexpect keeps everything unmatched: a chatty console must not grow without bound.
            elif len(self._spawn.buffer) > _KEEP_BYTES:
                self._spawn.buffer = self._spawn.buffer[-_LONGEST_BYTES:]
            return found
        return found
