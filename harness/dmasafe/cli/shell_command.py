# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe shell``: an interactive guest, modules loaded, adapters bound, slaves on the bus."""

from __future__ import annotations

import contextlib
import os
import re
import select
import selectors
import shlex
import socket
import sys
import termios
import time
import tty
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from dmasafe import kernel as kernels
from dmasafe import scratch
from dmasafe.cli.options import kernel_options, qemu_option
from dmasafe.cli.shell_history import ShellHistory, history_file, load, save
from dmasafe.errors import DmasafeError
from dmasafe.report.progress import ProgressDisplay
from dmasafe.targets.audit import load_all
from dmasafe.targets.boot import Boot, GuestImage
from dmasafe.targets.handover import Keys, make_keys
from dmasafe.targets.machine import BOARD_CONFIGURATION, BOARD_IMAGE, BOARD_USER, require_ssh, with_ssh
from dmasafe.targets.prepare import KernelChoice, Prepared, prepare, with_qemu_arguments
from dmasafe.targets.session import KMSG_LOG
from dmasafe.targets.share import SHARE, mount_share, with_share

# Ctrl-], as telnet and pexpect have it.
ESCAPE = b"\x1d"
HOST = "127.0.0.1"
#: The fragment that gives vmlinux its symbols' types and lines.
DEBUG_INFO = "debug-info"
# The guest's first prompt, and the history typed into it: without either a session is still a session.
PROMPT_S = 10.0
PROMPT = re.compile(rb" # ")
_READ_BYTES = 4096


@dataclass(frozen=True)
class Wishes:
    """What this session offers. ``remote`` is a command to run over SSH instead of a session."""

    ssh: bool
    gdb: bool
    remote: tuple[str, ...]
    modules: tuple[Path, ...] = ()
    share: Path | None = None

    @property
    def interactive(self) -> bool:
        return not self.remote and sys.stdin.isatty()


@click.command(
    name="shell",
    epilog="Examples: dmasafe shell --config debug-sg | dmasafe shell --module ~/thermo --share ~/tools | "
    "dmasafe shell --image python --ssh | dmasafe shell --ssh -- i2cdetect -l",
)
@click.argument("remote", nargs=-1, metavar="[-- COMMAND]...")
@click.option(
    "--image", "image_name", type=click.Choice(kernels.image_names()),
    help=f"What the guest has: busybox only, or Debian's Python.  [default: {kernels.MINIMAL}; "
    f"with --ssh {BOARD_IMAGE}]",
)  # fmt: skip
@click.option(
    "--ssh", is_flag=True,
    help=f"Say how to log in by SSH, or run COMMAND that way; the default of --config is then {BOARD_CONFIGURATION}.",
)  # fmt: skip
@click.option("--gdb", is_flag=True, help=f"Say how to debug the guest's kernel; adds +{DEBUG_INFO} to --config.")
@qemu_option
@click.option(
    "--module", "modules", metavar="DIR", multiple=True, type=click.Path(path_type=Path),
    help="Build the external modules in DIR and load them (again for more).",
)  # fmt: skip
@click.option(
    "--share", metavar="DIR", type=click.Path(path_type=Path, file_okay=False, exists=True),
    help=f"Have DIR in the guest, at {SHARE}: by 9p if the kernel has it, else a copy.",
)  # fmt: skip
@kernel_options
@click.pass_context
def command(
    context: click.Context,
    remote: tuple[str, ...],
    image_name: str | None,
    ssh: bool,
    gdb: bool,
    qemu_arguments: tuple[str, ...],
    modules: tuple[Path, ...],
    share: Path | None,
    kernel: KernelChoice,
) -> int:
    """Boot a guest and hand over its console; what is typed there is remembered. Ctrl-] or 'reboot -f' ends it.

    Without a terminal, --ssh and --gdb wait until the guest ends. With a COMMAND the exit status is the command's.
    """
    if remote and not ssh:
        raise DmasafeError("a COMMAND is run over SSH: say dmasafe shell --ssh -- COMMAND")
    for module in modules:
        kernels.require_modules(module)
    wishes = Wishes(ssh, gdb, remote, modules, share)
    if not (wishes.interactive or ssh or gdb):
        raise DmasafeError("dmasafe shell needs a terminal on standard input")
    if ssh and context.get_parameter_source("configuration") is click.core.ParameterSource.DEFAULT:
        kernel = kernel._replace(configuration=BOARD_CONFIGURATION)
    if gdb and DEBUG_INFO not in kernel.configuration.split("+"):
        kernel = kernel._replace(configuration=f"{kernel.configuration}+{DEBUG_INFO}")
    image_name = image_name or (BOARD_IMAGE if ssh else kernels.MINIMAL)
    if ssh:
        require_ssh(kernel.configuration, kernel.arch, image_name)
    words = ("dmasafe.shell",) if wishes.interactive else ()
    with contextlib.ExitStack() as stack:
        private = stack.enter_context(scratch.directory())
        kmsg_log = stack.enter_context((private / KMSG_LOG).open("wb"))
        with ProgressDisplay() as progress:
            prepared = prepare(*kernel, progress, words, image_name=image_name)
            prepared = with_qemu_arguments(prepared, qemu_arguments)
            files = [file for module in modules for file in _built(prepared, module, progress)]
            keys = make_keys(private) if ssh else None
            progress.stage("boot")
            boot = stack.enter_context(Boot(_image(prepared, keys, wishes, private), private, kmsg_log))
        return _session(prepared, boot, keys, wishes, files)


def _built(prepared: Prepared, directory: Path, progress: ProgressDisplay) -> tuple[Path, ...]:
    return kernels.build_modules(prepared.build, directory, kernels.open_cache(), progress)


def _image(prepared: Prepared, keys: Keys | None, wishes: Wishes, private: Path) -> GuestImage:
    """The prepared image in a machine that has what was asked for."""
    extras = replace(prepared.image.extras, gdb=private / "gdb.sock" if wishes.gdb else None)
    image = replace(prepared.image, extras=extras)
    if keys is not None:
        image = with_ssh(image, keys, extras)
    return with_share(image, prepared.build, wishes.share, private) if wishes.share is not None else image


def _session(prepared: Prepared, boot: Boot, keys: Keys | None, wishes: Wishes, modules: Sequence[Path]) -> int:
    """Say how to get in and stay until the end; the exit status."""
    boot.prepare()
    load_all(boot, modules)
    shared = mount_share(boot, boot.image) if wishes.share is not None else ""
    port = boot.qemu.ssh_port() if keys is not None else 0
    if keys is not None and wishes.remote:
        return _run_remote(keys, port, wishes.remote)
    _say_what_is_there(boot)
    if modules:
        click.echo(f"loaded: {', '.join(file.stem for file in modules)}")
    if shared:
        click.echo(f"{SHARE} is {wishes.share}, {shared}")
    if keys is not None:
        click.echo(f"ssh: {ssh_line(keys, port)}")
    if boot.image.extras.gdb is not None:
        click.echo(f"gdb: {gdb_line(prepared.build.vmlinux, boot.image.extras.gdb)}")
    if not wishes.interactive:
        _wait_for_end(boot.qemu.console)
        return 0
    click.echo("Ctrl-] ends the guest.")
    file = history_file()
    history = ShellHistory(load(file))
    try:
        _bridge(boot.qemu.console, history)
    finally:
        save(file, history.lines)
    click.echo()
    return 0


def _say_what_is_there(boot: Boot) -> None:
    for name, number in boot.adapters.items():
        click.echo(f"/dev/i2c-{number} is the {name} controller")
    click.echo("slaves: 20 registers, 30 recorder, 40 SMBus block, 50 and 51 EEPROMs, 60 NAK, 68 slow")


def ssh_line(keys: Keys, port: int) -> str:
    """The command that logs in; nothing of the user's own configuration or agent has a part in it."""
    words = ["ssh", "-F", "none", "-p", str(port), "-i", str(keys.identity), "-o", "IdentitiesOnly=yes"]
    known_hosts = str(keys.known_hosts(HOST, port))
    if " " in known_hosts:
        # It is a list of files, parted by blanks.
        known_hosts = f'"{known_hosts}"'
    words += ["-o", f"UserKnownHostsFile={known_hosts}", f"{BOARD_USER}@{HOST}"]
    return shlex.join(words)


def gdb_line(vmlinux: Path, stub: Path) -> str:
    """The command that debugs the guest's kernel through QEMU's stub."""
    return shlex.join(["gdb", "-ex", f"target remote {stub}", str(vmlinux)])


def _run_remote(keys: Keys, port: int, words: tuple[str, ...]) -> int:
    # paramiko costs 0.2 s to import.
    from dmasafe.guest.remote_command import run_command

    known_hosts = keys.known_hosts(HOST, port)
    # Like ssh: the words are joined for the guest's shell to read.
    line = " ".join(words)
    return run_command(HOST, port, BOARD_USER, keys.identity, known_hosts, line, sys.stdout.buffer, sys.stderr.buffer)


def _wait_for_end(console: socket.socket) -> None:
    console.setblocking(True)
    while console.recv(_READ_BYTES):
        pass


def _bridge(console: socket.socket, history: ShellHistory) -> None:
    """Copy between the terminal and the guest's console until ESCAPE or the guest's end."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        _give_history(console, history)
        console.setblocking(True)
        console.sendall(b"\r")
        with selectors.DefaultSelector() as selector:
            selector.register(terminal, selectors.EVENT_READ)
            selector.register(console, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == terminal:
                        typed = os.read(terminal, _READ_BYTES)
                        if not typed or ESCAPE in typed:
                            return
                        console.sendall(typed)
                    else:
                        printed = console.recv(_READ_BYTES)
                        if not printed:
                            return
                        os.write(sys.stdout.fileno(), history.show(printed))
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _give_history(console: socket.socket, history: ShellHistory) -> None:
    """Type what makes the shell remember, out of the user's sight, once its prompt is there."""
    deadline = time.monotonic() + PROMPT_S
    console.setblocking(False)
    console.send(b"\r")
    if _wait_for(console, PROMPT, deadline):
        console.setblocking(True)
        console.sendall(history.typed)
        console.setblocking(False)
        _wait_for(console, history.ready, deadline)


def _wait_for(console: socket.socket, wanted: re.Pattern[bytes], deadline: float) -> bool:
    """Whether the text came in time."""
    seen = b""
    while not wanted.search(seen):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([console], [], [], left)[0]:
            return False
        printed = console.recv(_READ_BYTES)
        if not printed:
            return False
        seen += printed
    return True
