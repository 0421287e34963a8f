# SPDX-License-Identifier: GPL-2.0-or-later
"""Boards that labgrid keeps; without labgrid one sentence says how to get it."""

import contextlib
import importlib

import pytest
from ssh_server import SshServer

from dmasafe.guest.labgrid import open_place
from dmasafe.guest.link import LinkError

ENVIRONMENT = """
targets:
  desk:
    resources:
      - NetworkService: {{address: 127.0.0.1, username: root, port: {port}}}
    drivers:
      - SSHDriver: {{keyfile: {key}}}
  line:
    resources:
      RawSerialPort: {{port: /dev/no-such-line, speed: 9600}}
  far:
    resources:
      RemotePlace: {{name: far}}
"""


def test_without_labgrid_the_way_to_it_is_said(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(LinkError, match=r"pip install 'dmasafe\[labgrid\]'"):
        open_place("desk", None, None, None)


@pytest.fixture
def environment(tmp_path):
    pytest.importorskip("labgrid")
    with SshServer() as server:
        server.key.write_private_key_file(str(tmp_path / "id"))
        (tmp_path / "env.yaml").write_text(ENVIRONMENT.format(port=server.port, key=tmp_path / "id"))
        yield tmp_path / "env.yaml", server.known_hosts(tmp_path / "known_hosts")


def test_a_place_with_a_network_service_is_reached_by_ssh_with_its_key(environment):
    file, known_hosts = environment
    with contextlib.closing(open_place("desk", file, known_hosts, None)) as link:
        assert link.command("echo here").output == "here\n"


def test_a_place_with_a_serial_port_is_reached_by_it(environment):
    with pytest.raises(LinkError, match="no serial device /dev/no-such-line"):
        open_place("line", environment[0], None, None)


def test_the_environment_is_taken_from_labgrids_own_variable(environment, monkeypatch):
    monkeypatch.setenv("LG_ENV", str(environment[0]))
    with pytest.raises(LinkError, match="has no target 'nowhere'"):
        open_place("nowhere", None, None, None)


def test_an_environment_that_is_not_there_is_said(environment, monkeypatch, tmp_path):
    monkeypatch.delenv("LG_ENV", raising=False)
    with pytest.raises(LinkError, match="needs an environment file"):
        open_place("desk", None, None, None)
    with pytest.raises(LinkError, match="labgrid cannot read"):
        open_place("desk", tmp_path / "gone.yaml", None, None)
