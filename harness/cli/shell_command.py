# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe shell``: an interactive guest, modules loaded, adapters bound, slaves on the bus."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import tempfile
import termios
import tty
from pathlib import Path

import click

from harness.cli.prepare import kernel_options, prepare
from harness.errors import DmasafeError
from harness.report.progress import Progress
from harness.targets.boot import KMSG_LOG, Boot

# Ctrl-], as telnet and pexpect have it.
ESCAPE = b"\x1d"
_READ_BYTES = 4096


@click.command(name="shell", epilog="Example: dmasafe shell --config debug-sg")
@kernel_options
def command(kernel_source: str, configuration: str, arch: str, accel: str | None) -> None:
    """Boot a guest and hand over its console. Ctrl-] or 'poweroff -f' ends it."""
    if not sys.stdin.isatty():
        raise DmasafeError("dmasafe shell needs a terminal on standard input")
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as logs, (Path(logs) / KMSG_LOG).open("wb") as kmsg_log:
        with Progress() as progress:
            prepared = prepare(kernel_source, configuration, arch, accel, progress, ("dmasafe.shell",))
            progress.stage("boot")
            boot = Boot(prepared.image, Path(logs), kmsg_log)
            boot.__enter__()
        try:
            boot.prepare()
            for name, number in boot.adapters.items():
                click.echo(f"/dev/i2c-{number} is the {name} controller")
            click.echo("slaves: 20 registers, 30 recorder, 40 SMBus block, 50 and 51 EEPROMs, 60 NAK, 68 slow")
            click.echo("Ctrl-] ends the guest.")
            _bridge(boot.qemu.console)
        finally:
            boot.__exit__(None, None, None)
    click.echo()


def _bridge(console: socket.socket) -> None:
    """Copy between the terminal and the guest's console until ESCAPE or the guest's end."""
    console.setblocking(True)
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        console.sendall(b"\n")
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
                        os.write(sys.stdout.fileno(), printed)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
