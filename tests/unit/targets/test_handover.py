# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys made for one run: for the user, for the guest, and what each may know of the other."""

import base64
import shutil
import stat
import subprocess

import pytest
from paramiko import Ed25519Key, HostKeys

from dmasafe.targets.handover import make_keys


@pytest.fixture
def keys(tmp_path):
    return make_keys(tmp_path)


def test_the_guest_lets_in_whoever_has_the_identity(keys):
    user = Ed25519Key.from_private_key_file(str(keys.identity))
    kind, blob, _ = keys.handover["authorized_keys"].read_text().split()
    assert kind == "ssh-ed25519"
    assert base64.b64decode(blob) == user.asbytes()


def test_known_hosts_names_the_guests_key_at_its_port_alone(keys):
    hosts = HostKeys(str(keys.known_hosts("127.0.0.1", 4711)))
    found = hosts.lookup("[127.0.0.1]:4711")
    assert found is not None
    assert base64.b64encode(found["ssh-ed25519"].asbytes()).decode() == keys.host_key
    assert hosts.lookup("127.0.0.1") is None and len(hosts) == 1


def test_the_host_key_is_the_private_half_of_what_known_hosts_says(keys):
    private = keys.handover["host_key"].read_bytes()
    public = base64.b64decode(keys.host_key)[-32:]
    assert private.startswith(b"\0\0\0\x0bssh-ed25519\0\0\0\x40")
    assert len(private) == 4 + 11 + 4 + 64 and private.endswith(public)


def test_nobody_else_can_read_them(keys, tmp_path):
    keys.known_hosts("127.0.0.1", 1)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_every_run_has_other_keys(keys, tmp_path):
    (tmp_path / "second").mkdir()
    second = make_keys(tmp_path / "second")
    assert second.host_key != keys.host_key
    assert second.handover["authorized_keys"].read_bytes() != keys.handover["authorized_keys"].read_bytes()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH's client is not installed")
def test_openssh_reads_the_identity(keys):
    done = subprocess.run(["ssh-keygen", "-y", "-f", keys.identity], capture_output=True, text=True)
    assert done.stdout.split()[:2] == keys.handover["authorized_keys"].read_text().split()[:2]
