# SPDX-License-Identifier: GPL-2.0-or-later
"""The image `python`: a guest that is logged into, with Python, smbus2, pyudev and i2c-tools on the emulated bus."""

import os
import socket
import sys

import paramiko
import pexpect
import psutil
import pytest
from pexpect.fdpexpect import fdspawn

from dmasafe.cli import shell_command
from dmasafe.guest import GuestError
from dmasafe.guest.remote_command import run_command
from dmasafe.progress import SILENT
from dmasafe.targets.handover import make_keys
from dmasafe.targets.machine import BoardGuest, board_image

PASSWORD = "correct horse"
LOGIN_S = 120


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """One board for the module, with a serial line."""
    with BoardGuest(
        board_image(SILENT), tmp_path_factory.mktemp("board"), serial=True, serial_password=PASSWORD
    ) as guest:
        yield guest


def connect(board, **changes):
    client = paramiko.SSHClient()
    client.load_host_keys(str(changes.pop("known_hosts", board.known_hosts)))
    options = {
        "hostname": board.host, "port": board.port, "username": board.user, "key_filename": str(board.identity),
        "allow_agent": False, "look_for_keys": False,
    }  # fmt: skip
    client.connect(**(options | changes))
    return client


@pytest.fixture(scope="module")
def ssh(board):
    """A command's output, standard error and status, through one connection."""
    with connect(board) as client:

        def run(command):
            given, out, err = client.exec_command(command, timeout=60)
            # Not later: paramiko's EOF could come after its CLOSE, and hit the next command's channel.
            given.channel.shutdown_write()
            status = out.channel.recv_exit_status()
            return status, out.read().decode(), err.read().decode()

        yield run


def test_python_reads_the_emulated_slaves_with_smbus2(ssh):
    # i2c-0 and i2c-1 are the two emulated controllers, under upstream's driver; 0x20 is a register file.
    script = (
        "import smbus2; b = smbus2.SMBus(0); b.write_byte_data(0x20, 3, 0x5a); print(hex(b.read_byte_data(0x20, 3)))"
    )
    assert ssh(f"python3 -c '{script}'") == (0, "0x5a\n", "")
    status, out, err = ssh("i2cget -y 0 0x20 3")
    assert (status, out) == (0, "0x5a\n"), err
    # What the help of dmasafe shell has as an example.
    status, out, err = ssh(shell_command.command.epilog.partition(" -- ")[2])
    assert status == 0 and "i2c-0" in out, err


def test_pyudev_sees_the_adapters(ssh):
    script = 'import pyudev; print(sorted(d.sys_name for d in pyudev.Context().list_devices(subsystem="i2c-dev")))'
    assert ssh(f"python3 -c '{script}'") == (0, "['i2c-0', 'i2c-1']\n", "")


def test_the_standard_library_is_precompiled_and_whole_enough(ssh):
    modules = (
        "asyncio, ctypes, curses, decimal, fcntl, hashlib, json, lzma, mmap, multiprocessing, readline, unittest, zlib"
    )
    script = f"import {modules}; print(json.__cached__)"
    status, out, err = ssh(f"python3 -c '{script}'; test -f $(python3 -c 'import json; print(json.__cached__)')")
    assert (status, err) == (0, ""), err
    assert "__pycache__" in out


def test_files_are_copied_by_sftp(board, tmp_path):
    with connect(board) as client, client.open_sftp() as sftp:
        (tmp_path / "file").write_bytes(os.urandom(300_000))
        sftp.put(str(tmp_path / "file"), "/tmp/file")
        sftp.get("/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


def test_nobody_else_gets_in(board, tmp_path):
    stranger = make_keys(tmp_path)
    with pytest.raises(paramiko.AuthenticationException):
        connect(board, key_filename=str(stranger.identity))
    with pytest.raises(paramiko.SSHException):
        connect(board, key_filename=None, password=PASSWORD)
    with pytest.raises(paramiko.BadHostKeyException):
        connect(board, known_hosts=stranger.known_hosts(board.host, board.port))


def test_only_this_host_reaches_the_board_and_the_board_reaches_nobody(board, ssh):
    listening = [c.laddr for c in psutil.Process(board.qemu.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", board.port)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f'import socket; socket.create_connection(("10.0.2.2", {port}), 2)'
        status, _, err = ssh(f"ip route add default via 10.0.2.2 && python3 -c '{script}'")
    assert status == 1 and "Error" in err.splitlines()[-1]


def test_the_serial_line_asks_for_the_password(board):
    terminal = os.open(board.serial, os.O_RDWR | os.O_NOCTTY)
    try:
        line = fdspawn(terminal, timeout=LOGIN_S)
        # QEMU looks once a second whether somebody has opened the pty, and drops what is written before.
        line.send("\r")
        for answer in ("wrong", PASSWORD):
            while line.expect(["login: $", pexpect.TIMEOUT], timeout=3):
                line.send("\r")
            line.send("root\r")
            line.expect("Password: ")
            line.send(f"{answer}\r")
        line.expect("# ")
        line.send("tty; id -u\r")
        line.expect(r"/dev/ttyS1\r\n0\r\n")
    finally:
        os.close(terminal)


def test_a_command_over_ssh_passes_on_output_and_status(dmasafe):
    done = dmasafe("shell", "--ssh", "--", "echo out; echo err >&2; i2ctransfer -y 0 w1@0x20 0x00 r1; exit 7", check=7)
    first, second = done.stdout.splitlines()
    assert first == "out" and second.startswith("0x")
    assert "err" in done.stderr.splitlines()


def test_a_guest_that_is_not_there_is_one_sentence(tmp_path):
    keys = make_keys(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    known_hosts = keys.known_hosts("127.0.0.1", port)
    with pytest.raises(GuestError, match="the guest's SSH server failed"):
        run_command("127.0.0.1", port, "root", keys.identity, known_hosts, "true", sys.stdout.buffer, sys.stderr.buffer)
