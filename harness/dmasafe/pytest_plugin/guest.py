# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest as a test sees it: files, modules, commands, adapters. Its answers are checked, not trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmasafe.guest.agent import Message, integer
from dmasafe.pytest_plugin.errors import PluginError, Refused, plainly
from dmasafe.targets.session import errno_text
from dmasafe.targets.shared_boot import SharedBoot

COMMAND_TIMEOUT_S = 5.0
# The agent gets a line of 64 KiB; escapes make six bytes of one.
_PIECE_BYTES = 8192
_EIO, _ENOENT, _ETIMEDOUT = 5, 2, 110
MAX_FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class Done:
    """A command that has ended: ``status`` is its exit status, or minus the signal that ended it."""

    status: int
    output: str


class Guest:
    """A booted guest. What it refuses is raised as an OSError with the guest's errno.

    ``adapters`` maps controllers (``dmasafe``, ``virtio``) to the N of /dev/i2c-N. ``boot`` is the harness's own Boot,
    for what is not here.
    """

    def __init__(self, boot: SharedBoot) -> None:
        self.boot = boot

    @property
    def release(self) -> str:
        """uname -r."""
        return self.boot.release

    @property
    def adapters(self) -> dict[str, int]:
        return self.boot.adapters

    @plainly
    def request(self, op: str, **arguments: object) -> Message:
        """One of the agent's requests (docs/agent-protocol.md) and its reply, as they are."""
        __tracebackhide__ = True
        return self.boot.request(op, **arguments)

    @plainly
    def read_bytes(self, path: str) -> bytes:
        """A whole file."""
        __tracebackhide__ = True
        data = b""
        while len(data) <= MAX_FILE_BYTES:
            reply = self._asked("read", path, path=path, offset=len(data))
            piece = str(reply.get("data", "")).encode("latin-1", "replace")
            data += piece
            if not reply.get("more") or not piece:
                return data
        raise PluginError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB")

    def read(self, path: str) -> str:
        """A whole file as text, without white space at its ends."""
        __tracebackhide__ = True
        return self.read_bytes(path).decode(errors="replace").strip()

    @plainly
    def write(self, path: str, data: str | bytes) -> None:
        """One write(2) to a file that is there, as sysfs wants it."""
        __tracebackhide__ = True
        self._asked("write", path, path=path, data=_text(data))

    @plainly
    def upload(self, source: Path | str | bytes, path: str) -> None:
        """Add the bytes of a file of the host's (or ``bytes``) to the end of a file of the guest's."""
        __tracebackhide__ = True
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        for start in range(0, len(data), _PIECE_BYTES) or (0,):
            self._asked("append", path, path=path, data=_text(data[start : start + _PIECE_BYTES]))

    @plainly
    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        __tracebackhide__ = True
        names = self._asked("list", path, path=path).get("names")
        return sorted(str(name) for name in names) if isinstance(names, list) else []

    @plainly
    def load(self, module: Path | str, params: str = "") -> None:
        """Load a module of the host's, a .ko file that was built for the guest's kernel."""
        __tracebackhide__ = True
        file = Path(module)
        if file not in self.boot.uploaded:
            path = f"/tmp/{len(self.boot.uploaded)}-{file.name}"
            self.upload(file, path)
            self.boot.uploaded[file] = path
        self._asked("load", file.name, path=self.boot.uploaded[file], params=params)

    @plainly
    def unload(self, name: str) -> None:
        """Unload a module by its name."""
        __tracebackhide__ = True
        self._asked("unload", name, name=name.replace("-", "_"))

    @plainly
    def run(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """A shell command, if the image has a shell (the default one has busybox's)."""
        __tracebackhide__ = True
        reply = self.boot.command(command, timeout_s)
        error = integer(reply, "errno", _EIO)
        if error == _ENOENT:
            raise PluginError("this image has no shell: use another with --dmasafe-image")
        if error == _ETIMEDOUT:
            raise PluginError(f"'{command}' did not end within {timeout_s:g} s")
        status = integer(reply, "status")
        if error or status is None:
            raise PluginError(f"'{command}' could not be run: {errno_text(reply)}")
        return Done(status, str(reply.get("output", "")).encode("latin-1", "replace").decode(errors="replace"))

    @plainly
    def set_policy(self, policy: str, threshold: int = 1) -> None:
        """How the dmasafe controller treats buffers from now to the test's end: bounce, flag-only, trusting, pio."""
        __tracebackhide__ = True
        self.boot.set_policy(policy, threshold)

    def _asked(self, op: str, what: str, **arguments: Any) -> Message:
        __tracebackhide__ = True
        reply = self.boot.request(op, **arguments)
        error = integer(reply, "errno")
        if error is None:
            raise PluginError(f"the agent cannot do '{op}': {errno_text(reply)}")
        if error:
            raise Refused(error, errno_text(reply), what)
        return reply


def _text(data: str | bytes) -> str:
    """One code point a byte."""
    return (data.encode() if isinstance(data, str) else data).decode("latin-1")
