# SPDX-License-Identifier: GPL-2.0-or-later
"""A board over SSH: host keys verified, keys and agent for authentication, ~/.ssh/config honoured. No passwords."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import re
import shlex
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import paramiko

from dmasafe.guest.agent import Stream
from dmasafe.guest.link import COMMAND_TIMEOUT_S, MAX_OUTPUT_BYTES, Done, Link, LinkError, closed

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 5
SFTP_END_S = 5.0
PORT = 22
SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:@\s\[\]]+))(?::(?P<port>\d+))?"
)
_PIECE_BYTES = 32768
_WRONG_KIND = re.compile(r"encountered \S+ key, expected \S+ key")


@dataclass(frozen=True)
class Address:
    """``[user@]host[:port]`` as written: what is missing comes from ~/.ssh/config."""

    host: str
    user: str | None = None
    port: int | None = None


def parse_address(text: str) -> Address:
    """Raises LinkError."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port < 65536):
        raise LinkError(f"'{text}' is no SSH address: write [USER@]HOST[:PORT], an IPv6 address in brackets")
    return Address(match["six"] or match["host"], match["user"], port)


@dataclass(frozen=True)
class SshOptions:
    """``known_hosts`` replaces ~/.ssh/known_hosts, ``identity`` the keys that ssh would try."""

    known_hosts: Path | None = None
    identity: Path | None = None
    config: Path | None = None


class SshLink:
    """A root shell over SSH."""

    window_bytes = 1 << 18
    resend_s = 5.0

    def __init__(self, address: Address, options: SshOptions = SshOptions()) -> None:
        self._address = address
        self._options = options
        self.name = f"ssh:{address.host}"
        self._client = _connect(address, options)

    def command(self, script: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        return self._run(script, None, timeout_s)

    def _run(self, script: str, given: bytes | None, timeout_s: float) -> Done:
        until = time.monotonic() + timeout_s
        output = bytearray()
        try:
            with self._open_channel() as channel:
                channel.settimeout(timeout_s)
                channel.set_combine_stderr(True)
                channel.exec_command(f"sh -c {shlex.quote(script)}")
                if given is not None:
                    channel.sendall(given)
                channel.shutdown_write()
                while piece := channel.recv(_PIECE_BYTES):
                    output += piece
                    if len(output) > MAX_OUTPUT_BYTES or time.monotonic() > until:
                        raise LinkError(f"{self.name}: a command says too much, or takes too long: {script[:60]!r}")
                return Done(channel.recv_exit_status(), output.decode(errors="replace"))
        except TimeoutError as error:
            raise LinkError(f"{self.name}: a command did not end within {timeout_s:g} s: {script[:60]!r}") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise LinkError(f"{self.name}: the connection broke: {error or type(error).__name__}") from error

    def _open_channel(self) -> paramiko.Channel:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise LinkError(f"{self.name}: the connection is closed")
        return transport.open_session(timeout=CONNECT_TIMEOUT_S)

    def upload(self, files: Mapping[str, bytes], directory: str) -> None:
        if not self._upload_by_sftp(files, directory):
            for name, content in files.items():
                path = shlex.quote(f"{directory}/{name}")
                done = self._run(f"umask 077 && cat > {path} && chmod 700 {path}", content, 10 * COMMAND_TIMEOUT_S)
                if done.status != 0:
                    raise LinkError(f"{self.name}: cannot write {directory}/{name}: {done.output.strip()[-200:]}")

    def _upload_by_sftp(self, files: Mapping[str, bytes], directory: str) -> bool:
        """Whether the board has SFTP."""
        try:
            sftp = self._client.open_sftp()
        except (EOFError, OSError, paramiko.SSHException):
            return False
        try:
            with sftp:
                for name, content in files.items():
                    with sftp.open(f"{directory}/{name}", "wb") as file:
                        file.set_pipelined(True)
                        file.write(content)
                    sftp.chmod(f"{directory}/{name}", 0o700)
                _await_end(sftp)
        except (EOFError, OSError, paramiko.SSHException) as error:
            raise LinkError(f"{self.name}: cannot write into {directory}: {error}") from error
        return True

    def start(self, command: str) -> Stream:
        try:
            channel = self._open_channel()
            channel.set_combine_stderr(True)
            channel.exec_command(command)
        except (EOFError, OSError, paramiko.SSHException) as error:
            raise LinkError(f"{self.name}: the connection broke: {error or type(error).__name__}") from error
        return ChannelStream(channel)

    def again(self) -> Link:
        return SshLink(self._address, self._options)

    def close(self) -> None:
        self._client.close()


def _await_end(sftp: paramiko.SFTPClient) -> None:
    """Let the board's SFTP server end by itself: dropbear 2022.82 to 2024.85 may drop a connection whose next channel
    opens while the child of the last one dies (its issues 173 and 258).
    """
    channel = sftp.get_channel()
    if channel is not None:
        channel.shutdown_write()
        channel.status_event.wait(SFTP_END_S)


class ChannelStream:
    """A paramiko channel with a socket's manners."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def setblocking(self, flag: bool, /) -> None:
        self._channel.setblocking(flag)

    def fileno(self) -> int:
        return self._channel.fileno()

    def send(self, data: bytes, /) -> int:
        try:
            return self._channel.send(data)
        except TimeoutError as error:
            raise BlockingIOError from error
        except OSError as error:
            raise closed("the SSH connection is closed") from error

    def recv(self, size: int, /) -> bytes:
        try:
            return self._channel.recv(size)
        except TimeoutError as error:
            raise BlockingIOError from error


def _connect(address: Address, options: SshOptions) -> paramiko.SSHClient:
    found = _configured(address, options)
    host, port, user = (
        found["hostname"],
        address.port or int(found.get("port", PORT)),
        address.user or found.get("user"),
    )
    known_hosts = options.known_hosts or Path.home() / ".ssh" / "known_hosts"
    # It logs what it also raises.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Refuse(known_hosts, port))
    try:
        _load_host_keys(client, known_hosts, options.known_hosts is not None)
        client.connect(
            host,
            port,
            user or "root",
            key_filename=_identities(found, options),
            look_for_keys=options.identity is None and "identityfile" not in found,
            timeout=CONNECT_TIMEOUT_S,
            banner_timeout=CONNECT_TIMEOUT_S,
            auth_timeout=CONNECT_TIMEOUT_S,
            sock=_proxy(found, host, port),
        )
    except BaseException as error:
        client.close()
        _explain(error, f"{user or 'root'}@{host}", port, known_hosts)
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(KEEPALIVE_S)
    return client


def _configured(address: Address, options: SshOptions) -> dict[str, Any]:
    file = options.config or Path.home() / ".ssh" / "config"
    try:
        config = paramiko.SSHConfig.from_path(str(file)) if file.is_file() else paramiko.SSHConfig()
        return dict(config.lookup(address.host))
    except (OSError, paramiko.SSHException) as error:
        raise LinkError(f"{file} cannot be read as an SSH configuration: {error}") from error


def _identities(found: Mapping[str, Any], options: SshOptions) -> Any:
    if options.identity is not None:
        if not options.identity.is_file():
            raise LinkError(f"there is no identity file {options.identity}: name a private key by --identity")
        return [str(options.identity)]
    # ssh passes over identity files that are not there.
    return [path for path in found.get("identityfile", ()) if Path(path).is_file()] or None


def _load_host_keys(client: paramiko.SSHClient, known_hosts: Path, required: bool) -> None:
    for file in (known_hosts,) if required else (SYSTEM_KNOWN_HOSTS, known_hosts):
        try:
            if file.is_file() or required:
                client.load_host_keys(str(file))
        except (OSError, paramiko.SSHException) as error:
            raise LinkError(f"{file} cannot be read as a file of known hosts: {error}") from error


def _proxy(found: Mapping[str, Any], host: str, port: int) -> Any:
    command = found.get("proxycommand")
    if "proxyjump" in found and found["proxyjump"] != "none":
        command = f"ssh -W {shlex.quote(f'[{host}]:{port}')} {shlex.quote(found['proxyjump'])}"
    return paramiko.ProxyCommand(command) if command else None


def fingerprint(key: paramiko.PKey) -> str:
    """As ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


class _UnknownHost(LinkError):
    """A host key that nobody vouched for."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    """Refuses a host that is not in the file, and says how it would get there."""

    def __init__(self, known_hosts: Path, port: int) -> None:
        self._known_hosts = known_hosts
        self._port = port

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        host = hostname.strip("[]").split("]")[0]
        raise _UnknownHost(
            f"the host key of {hostname} ({key.get_name()} {fingerprint(key)}) is not in {self._known_hosts}: "
            f"compare it with the board's own, then 'ssh-keyscan -p {self._port} {host} >> {self._known_hosts}'"
        )


def _not_let_in(whom: str, port: int) -> LinkError:
    return LinkError(
        f"{whom} (port {port}) accepts none of our keys: add one with ssh-copy-id, or name the right one by "
        "--identity FILE"
    )


def _explain(error: BaseException, whom: str, port: int, known_hosts: Path) -> NoReturn:
    """Why there is no connection, in one sentence."""
    match error:
        case LinkError():
            raise error
        case paramiko.BadHostKeyException():
            raise LinkError(
                f"the host key of {error.hostname} has changed to {error.key.get_name()} {fingerprint(error.key)}: "
                f"it is another machine, or somebody stands between; if it is right, remove the old key from "
                f"{known_hosts} with 'ssh-keygen -f {known_hosts} -R {shlex.quote(error.hostname)}'"
            ) from error
        case paramiko.PasswordRequiredException():
            raise LinkError(f"the private key for {whom} has a passphrase: load it with ssh-add first") from error
        case paramiko.AuthenticationException():
            raise _not_let_in(whom, port) from error
        case paramiko.SSHException() if _WRONG_KIND.search(str(error)):
            # paramiko tries a key file as every kind of key, and shows the last try only.
            raise _not_let_in(whom, port) from error
        case socket.gaierror():
            raise LinkError(f"there is no host {whom.partition('@')[2]}: {error.strerror}") from error
        case OSError():
            reason = error.strerror or "no answer"
            with contextlib.suppress(AttributeError, IndexError):
                reason = next(iter(error.errors.values())).strerror or reason  # type: ignore[attr-defined]
            raise LinkError(f"{whom} cannot be reached on port {port}: {reason}") from error
        case paramiko.SSHException() | EOFError():
            if "authentication methods" in str(error):
                raise LinkError(
                    f"there is no key to log in to {whom} with: name one by --identity FILE, or load it with ssh-add"
                ) from error
            raise LinkError(f"{whom} does not speak SSH on port {port}: {error or 'it hung up'}") from error
        case ValueError():
            raise LinkError(f"the private key for {whom} cannot be read: {error}") from error
    raise error
