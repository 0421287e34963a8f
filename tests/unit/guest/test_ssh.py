# SPDX-License-Identifier: GPL-2.0-or-later
"""The way to a board over SSH: who is let in, who is trusted, and what is said when something is wrong."""

import contextlib
import socket
import threading
import time

import paramiko
import pytest
from ssh_server import SshServer

from dmasafe.guest.link import LinkError
from dmasafe.guest.ssh import Address, SshLink, SshOptions, fingerprint, parse_address


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nobody's keys, configuration and agent."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def server():
    with SshServer() as server:
        yield server


@pytest.fixture
def options(server, tmp_path):
    server.key.write_private_key_file(str(tmp_path / "id"))
    return SshOptions(server.known_hosts(tmp_path / "known_hosts"), tmp_path / "id")


def here(server, **more):
    return Address("127.0.0.1", "root", server.port, **more)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("board", Address("board")),
        ("root@board", Address("board", "root")),
        ("root@board:2222", Address("board", "root", 2222)),
        ("[fe80::1%eth0]:22", Address("fe80::1%eth0", None, 22)),
        ("me@[::1]", Address("::1", "me")),
    ],
)
def test_addresses_are_written_as_ssh_users_write_them(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "@board", "board:", "board:x", "board:99999", "a b", "fe80::1", "x@y@z"])
def test_what_is_no_address_is_said(text):
    with pytest.raises(LinkError, match="is no SSH address"):
        parse_address(text)


def test_commands_files_and_streams_pass(server, options, tmp_path):
    with contextlib.closing(SshLink(here(server), options)) as link:
        done = link.command("echo out; echo err >&2; exit 3")
        assert (done.status, done.output) == (3, "out\nerr\n")
        # This server has no SFTP.
        content = bytes(range(256)) * 300
        link.upload({"agent": content}, str(tmp_path))
        assert (tmp_path / "agent").read_bytes() == content
        assert (tmp_path / "agent").stat().st_mode & 0o777 == 0o700
        stream = link.start("cat")
        stream.setblocking(False)
        with pytest.raises(BlockingIOError):
            stream.recv(10)
        stream.send(b"there and back")
        got, until = b"", time.monotonic() + 10
        while got != b"there and back" and time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                got += stream.recv(100)
        assert got == b"there and back"


def test_a_command_without_end_is_bounded(server, options):
    with contextlib.closing(SshLink(here(server), options)) as link, pytest.raises(LinkError, match="did not end"):
        link.command("sleep 30", 0.5)


def test_a_cut_connection_is_the_end_of_the_stream(options, tmp_path):
    with SshServer() as server:
        server.key.write_private_key_file(str(tmp_path / "id2"))
        link = SshLink(here(server), SshOptions(server.known_hosts(tmp_path / "known2"), tmp_path / "id2"))
        stream = link.start("cat")
        stream.setblocking(False)
        server.cut()
        until = time.monotonic() + 10
        got = None
        while got is None and time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                got = stream.recv(10)
        assert got == b""
        with pytest.raises(LinkError):
            link.command("true")
        link.close()


def test_an_unknown_host_key_is_refused_with_the_file_and_the_way(server, options, tmp_path):
    (tmp_path / "empty").write_text("")
    with pytest.raises(LinkError) as error:
        SshLink(here(server), SshOptions(tmp_path / "empty", options.identity))
    text = str(error.value)
    assert fingerprint(server.host_key) in text and f"is not in {tmp_path / 'empty'}" in text
    assert f"ssh-keyscan -p {server.port} 127.0.0.1 >> {tmp_path / 'empty'}" in text and "\n" not in text


def test_a_changed_host_key_is_refused(server, options, tmp_path):
    other = server.known_hosts(tmp_path / "other", paramiko.ECDSAKey.generate())
    with pytest.raises(LinkError, match=f"has changed to .*remove the old key from {other}"):
        SshLink(here(server), SshOptions(other, options.identity))


def test_a_key_that_is_not_let_in_is_said(server, options, tmp_path):
    paramiko.ECDSAKey.generate().write_private_key_file(str(tmp_path / "wrong"))
    with pytest.raises(LinkError, match="accepts none of our keys: add one with ssh-copy-id"):
        SshLink(here(server), SshOptions(options.known_hosts, tmp_path / "wrong"))


def test_no_key_at_all_is_said(server, options):
    with pytest.raises(LinkError, match=r"no key to log in .* with: name one by --identity"):
        SshLink(here(server), SshOptions(options.known_hosts))


def test_an_identity_file_that_is_not_there_is_said(server, options, tmp_path):
    with pytest.raises(LinkError, match=f"there is no identity file {tmp_path / 'gone'}"):
        SshLink(here(server), SshOptions(options.known_hosts, tmp_path / "gone"))


def test_a_port_where_nobody_listens_is_said(options):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(LinkError, match=rf"root@127.0.0.1 cannot be reached on port {port}: Connection refused"):
        SshLink(Address("127.0.0.1", "root", port), options)


def test_a_host_that_does_not_exist_is_said(options):
    with pytest.raises(LinkError, match=r"there is no host no-such-host\.invalid"):
        SshLink(Address("no-such-host.invalid", "root"), options)


def test_somebody_who_does_not_speak_ssh_is_said(options):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            client, _ = listener.accept()
            client.sendall(b"220 mail.example\r\n")
            client.close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(LinkError, match="does not speak SSH"):
            SshLink(Address("127.0.0.1", "root", listener.getsockname()[1]), options)


def test_an_alias_of_the_configuration_is_honoured(server, options, home):
    (home / ".ssh" / "config").write_text(
        f"Host desk\n  HostName 127.0.0.1\n  Port {server.port}\n  User root\n  IdentityFile {options.identity}\n"
    )
    with contextlib.closing(SshLink(Address("desk"), SshOptions(options.known_hosts))) as link:
        assert link.command("echo hello").output == "hello\n"


def test_a_known_hosts_file_that_is_not_there_is_said(server, options, tmp_path):
    with pytest.raises(LinkError, match="cannot be read as a file of known hosts"):
        SshLink(here(server), SshOptions(tmp_path / "nowhere", options.identity))
