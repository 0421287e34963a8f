# SPDX-License-Identifier: GPL-2.0-or-later
"""An SSH server on loopback for tests: one public key is let in, commands run as child processes."""

import socket
import subprocess
import threading

import paramiko


class _Server(paramiko.ServerInterface):
    def __init__(self, allowed):
        self._allowed = allowed

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL if key == self._allowed else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=_execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def check_channel_subsystem_request(self, channel, name):
        return False


def _execute(channel, command):
    child = subprocess.Popen(
        ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    def feed():
        while data := channel.recv(65536):
            child.stdin.write(data)
            child.stdin.flush()
        child.stdin.close()

    threading.Thread(target=feed, daemon=True).start()
    while data := child.stdout.read1(65536):
        channel.sendall(data)
    channel.send_exit_status(child.wait())
    channel.close()


class SshServer:
    """A context manager; ``port`` on 127.0.0.1, its ``host_key``, and the client ``key`` that it accepts."""

    def __init__(self):
        self.host_key = paramiko.ECDSAKey.generate()
        self.key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._transports = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.cut()

    def cut(self):
        """End all connections at once."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def _accept(self):
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(client)
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            try:
                transport.start_server(server=_Server(self.key))
            except (OSError, EOFError, paramiko.SSHException):
                continue

    def known_hosts(self, path, key=None):
        """Write a file that knows this server by ``key`` (its own if None)."""
        key = key or self.host_key
        path.write_text(f"[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n")
        return path
