# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest as a test sees it: files, modules, commands, adapters. Its answers are checked, not trusted."""

from __future__ import annotations

import errno
from pathlib import Path

from dmasafe.guest import hands
from dmasafe.guest.agent import Message
from dmasafe.guest.hands import Done, Hands
from dmasafe.pytest_plugin.errors import PluginError, RefusedByGuest, plainly
from dmasafe.targets.shared_boot import SharedBoot

COMMAND_TIMEOUT_S = 5.0


class Guest:
    """A booted guest. What it refuses is raised as an OSError with the guest's errno.

    ``adapters`` maps controllers (``dmasafe``, ``virtio``) to the N of /dev/i2c-N. ``boot`` is the harness's own Boot,
    for what is not here.
    """

    def __init__(self, shared: SharedBoot) -> None:
        self.boot = shared.boot
        self._shared = shared
        self._uploaded = shared.uploaded
        self._hands = Hands(self.boot.request, _failure)

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
        return self._hands.read(path)

    def read(self, path: str) -> str:
        """A whole file as text, without white space at its ends."""
        __tracebackhide__ = True
        return self.read_bytes(path).decode(errors="replace").strip()

    @plainly
    def write(self, path: str, data: str | bytes) -> None:
        """One write(2) to a file that is there, as sysfs wants it."""
        __tracebackhide__ = True
        self._hands.write(path, data)

    @plainly
    def upload(self, source: Path | str | bytes, path: str) -> None:
        """Add the bytes of a file of the host's (or ``bytes``) to the end of a file of the guest's."""
        __tracebackhide__ = True
        self._hands.append(path, source if isinstance(source, bytes) else Path(source).read_bytes())

    @plainly
    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        __tracebackhide__ = True
        return self._hands.names(path)

    @plainly
    def load(self, module: Path | str, params: str = "") -> None:
        """Load a module of the host's, a .ko file that was built for the guest's kernel."""
        __tracebackhide__ = True
        file = Path(module)
        if file not in self._uploaded:
            path = f"/tmp/{len(self._uploaded)}-{file.name}"
            self.upload(file, path)
            self._uploaded[file] = path
        self._hands.load(self._uploaded[file], params)

    @plainly
    def unload(self, name: str) -> None:
        """Unload a module by its name."""
        __tracebackhide__ = True
        self._hands.unload(name)

    @plainly
    def run(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """A shell command, if the image has a shell (the default one has busybox's)."""
        __tracebackhide__ = True
        try:
            return Hands(self.boot.request).run(command, timeout_s)
        except hands.Refused as refused:
            if refused.errno == errno.ENOENT:
                raise PluginError("this image has no shell: use another with --dmasafe-image") from None
            if refused.errno == errno.ETIMEDOUT:
                raise PluginError(f"'{command}' did not end within {timeout_s:g} s") from None
            raise PluginError(f"'{command}' could not be run: {refused.why}") from None

    @plainly
    def set_policy(self, policy: str, threshold: int = 1) -> None:
        """How the dmasafe controller treats buffers from now to the test's end: bounce, flag-only, trusting, pio."""
        __tracebackhide__ = True
        self._shared.set_policy(policy, threshold)


def _failure(refused: hands.Refused) -> PluginError:
    """Without an errno the agent does not know the request."""
    return RefusedByGuest(refused.errno, refused.why, refused.what) if refused.errno else PluginError(str(refused))
