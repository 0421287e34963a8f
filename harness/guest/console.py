# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial console through pexpect: what is left to read when the agent no longer speaks."""

from __future__ import annotations

import re
import socket
from typing import Any

import pexpect
from pexpect.socket_pexpect import SocketSpawn

# What a kernel says on its console when it is beyond recovery. The console is quiet otherwise: only panic() and
# oops_enter() raise its log level.
_LAST_WORDS = re.compile(rb"(Kernel panic - not syncing: [^\r\n]*|watchdog: BUG: soft lockup[^\r\n]*)\r?\n")
_KEEP_BYTES = 4096


class Console:
    """A guest's serial console; QEMU itself writes the whole of it to a log file."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._spawn: Any = SocketSpawn(sock, timeout=0, maxread=65536)
        self._open = True

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def open(self) -> bool:
        """False once QEMU has closed its end."""
        return self._open

    def last_words(self) -> str | None:
        """Read what is there; the panic or lockup line if one came by since the last call, else None."""
        if not self._open:
            return None
        found: str | None = None
        while True:
            index = self._spawn.expect([_LAST_WORDS, pexpect.EOF, pexpect.TIMEOUT], timeout=0)
            if index == 0:
                found = found or self._spawn.match[1].decode(errors="replace")
                continue
            if index == 1:
                self._open = False
            # pexpect keeps everything unmatched: a chatty console must not grow without bound.
            elif len(self._spawn.buffer) > _KEEP_BYTES:
                self._spawn.buffer = self._spawn.buffer[-_KEEP_BYTES:]
            return found
