# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU guests that play boards, and guests that can be logged into.

A BoardGuest is what a real board is to the harness: something with SSH and a serial line, and none of our programs.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dmasafe import kernel as kernels
from dmasafe import scratch
from dmasafe.closing import Closing
from dmasafe.kernel.config import resolve
from dmasafe.progress import Progress
from dmasafe.qemu.process import NO_EXTRAS, Extras, QemuProcess
from dmasafe.targets.boot import CONSOLE_LOG, GuestImage, machine_config, make_devices
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.handover import Keys, make_keys
from dmasafe.targets.prepare import DEFAULT_ARCH, Prepared, prepare

BOARD_CONFIGURATION = "board"
BOARD_IMAGE = "python"
BOARD_USER = "root"
#: From power-on to the line that says so, on a machine with other things to do.
BOARD_READY_S = 120.0
DEVICE_READY_S = 60.0

_READY_LINE = b"dmasafe: ssh is ready"
_PANIC = b"Kernel panic - not syncing"
_KEEP_BYTES = 4096
# What the kernel needs so that somebody can log in.
_SSH_SYMBOLS = ("INET", "UNIX", "VIRTIO_NET", "FW_CFG_SYSFS")


def require_ssh(configuration: str, arch: str, image_name: str) -> None:
    """TargetError unless a guest of this configuration and image can be logged into. Raises ConfigError."""
    if image_name == kernels.MINIMAL:
        raise TargetError(f"the image {kernels.MINIMAL} has no SSH server: say --image {BOARD_IMAGE}")
    wanted = {line.symbol for line in resolve(kernels.load_matrix(), configuration, arch).wanted if line.value != "n"}
    missing = [symbol for symbol in _SSH_SYMBOLS if symbol not in wanted]
    if missing:
        raise TargetError(
            f"the configuration {configuration} asks for no {', '.join(missing)}, which SSH needs: say "
            f"--config {BOARD_CONFIGURATION}, or --config {configuration}+network"
        )


def with_ssh(image: GuestImage, keys: Keys, extras: Extras = NO_EXTRAS) -> GuestImage:
    """The image in a machine whose SSH server knows these keys."""
    handover = {**extras.handover, **keys.handover}
    return replace(image, extras=replace(extras, ssh=True, handover=handover))


def board_image(
    progress: Progress,
    arch: str = DEFAULT_ARCH,
    source: str = kernels.DEFAULT_SOURCE,
    configuration: str = BOARD_CONFIGURATION,
    accel: str | None = None,
    extra_modules: Sequence[str] = (),
    patched: kernels.Kernel | None = None,
) -> Prepared:
    """Build what a board boots, or find it in the cache. Raises KernelError, QemuError, TargetError.

    ``extra_modules`` and ``patched``: as for prepare().
    """
    require_ssh(configuration, arch, BOARD_IMAGE)
    words = ("dmasafe.board",)
    return prepare(source, configuration, arch, accel, progress, words, extra_modules, BOARD_IMAGE, patched)


class BoardGuest(Closing):
    """A QEMU guest as a board: up when the ``with`` is entered, gone with all its keys and processes afterwards.

    ``serial`` gives it a second terminal with logins, at the pty ``serial`` of this host; ``serial_password`` is
    root's there (empty: none is asked for). ``controllers`` are those beside the ones that always are. Raises
    BootLost, QemuError, DevicesError.
    """

    user = BOARD_USER
    host = "127.0.0.1"

    def __init__(
        self,
        board: Prepared,
        log_directory: Path,
        serial: bool = False,
        serial_password: str = "",
        ready_s: float = BOARD_READY_S,
        controllers: tuple[str, ...] = (),
    ) -> None:
        self.board = board
        self._controllers = controllers
        self.console_log = log_directory / CONSOLE_LOG
        self.serial: Path | None = None
        self.functions: Mapping[str, str] = {}
        self._log_directory = log_directory
        self._serial = serial
        self._password = serial_password
        self._ready_s = ready_s
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        self._stack.close()

    def _start(self) -> None:
        private = self._stack.enter_context(scratch.directory("board-"))
        keys = make_keys(private)
        handover: dict[str, Path] = {}
        if self._serial:
            # fw_cfg has no empty files.
            handover["password"] = private / "password"
            handover["password"].write_text(f"{self._password}\n")
        extras = Extras(handover, login=self._serial)
        image = replace(with_ssh(self.board.image, keys, extras), controllers=self._controllers)
        self.device = self._stack.enter_context(make_devices(image, private))
        self.device.wait_ready(DEVICE_READY_S)
        config = machine_config(image, self.device, self._log_directory)
        self.functions = config.i2c_functions()
        started = time.monotonic()
        self.qemu = self._stack.enter_context(QemuProcess(config))
        self.port = self.qemu.ssh_port()
        self.identity = keys.identity
        self.known_hosts = keys.known_hosts(self.host, self.port)
        if self._serial:
            self.serial = self.qemu.login_terminal()
        self._wait_ready(started + self._ready_s)
        self.boot_s = time.monotonic() - started

    def _wait_ready(self, deadline: float) -> None:
        """Read the console until the SSH server listens."""
        console = self.qemu.console
        seen = b""
        with selectors.DefaultSelector() as selector:
            selector.register(console, selectors.EVENT_READ)
            while _READY_LINE not in seen:
                left = deadline - time.monotonic()
                if left <= 0 or _PANIC in seen:
                    raise BootLost(f"the board did not come up: {_last_line(seen)} (its console is {self.console_log})")
                if not selector.select(min(left, 0.5)):
                    continue
                got = console.recv(_KEEP_BYTES)
                if not got:
                    words = self.qemu.last_words() or _last_line(seen)
                    raise BootLost(f"QEMU ended before the board was up: {words}")
                seen = (seen + got)[-2 * _KEEP_BYTES :]


def _last_line(seen: bytes) -> str:
    lines = seen.decode(errors="replace").strip().splitlines()
    return ascii(lines[-1])[1:-1][:200] if lines else "nothing came on its console"
