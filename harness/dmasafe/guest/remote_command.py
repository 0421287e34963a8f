# SPDX-License-Identifier: GPL-2.0-or-later
"""One command over SSH in a guest of ours, as ssh HOST COMMAND does it: output passed on, its status returned."""

from __future__ import annotations

import select
from pathlib import Path
from typing import BinaryIO

import paramiko

from dmasafe.guest import GuestError

CONNECT_TIMEOUT_S = 30.0
_PIECE_BYTES = 32768
_POLL_S = 0.5


def run_command(
    host: str, port: int, user: str, identity: Path, known_hosts: Path, command: str, out: BinaryIO, err: BinaryIO
) -> int:
    """The command's exit status, however long it takes. Raises GuestError if it could not be run to its end."""
    with paramiko.SSHClient() as client:
        # Only the key that was made for this guest counts, on either side.
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.load_host_keys(str(known_hosts))
            client.connect(
                host,
                port,
                user,
                key_filename=str(identity),
                allow_agent=False,
                look_for_keys=False,
                timeout=CONNECT_TIMEOUT_S,
                banner_timeout=CONNECT_TIMEOUT_S,
                auth_timeout=CONNECT_TIMEOUT_S,
            )
            transport = client.get_transport()
            assert transport is not None
            with transport.open_session(timeout=CONNECT_TIMEOUT_S) as channel:
                channel.exec_command(command)
                channel.shutdown_write()
                _pass_on(channel, out, err)
                status = channel.recv_exit_status()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise GuestError(f"the guest's SSH server failed: {error or type(error).__name__}") from error
    if status < 0:
        raise GuestError("the guest's SSH server went away before the command ended")
    return status


def _pass_on(channel: paramiko.Channel, out: BinaryIO, err: BinaryIO) -> None:
    ended = False
    while not ended:
        select.select([channel], [], [], _POLL_S)
        # Asked first: what comes before the end is read below.
        ended = channel.exit_status_ready() or channel.closed
        while channel.recv_ready():
            out.write(channel.recv(_PIECE_BYTES))
        while channel.recv_stderr_ready():
            err.write(channel.recv_stderr(_PIECE_BYTES))
        out.flush()
        err.flush()
