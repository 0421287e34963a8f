# SPDX-License-Identifier: GPL-2.0-or-later
"""What dmasafe shell refuses, before it builds anything."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmasafe.cli import shell_command
from dmasafe.errors import DmasafeError
from dmasafe.targets.handover import make_keys


@pytest.fixture
def refused(monkeypatch):
    """The sentence for a command line; a build is an error of the test's."""

    def prepare(*arguments, **options):
        raise AssertionError("it began to build")

    monkeypatch.setattr(shell_command, "prepare", prepare)

    def run(*arguments):
        with pytest.raises(DmasafeError) as caught:
            CliRunner().invoke(shell_command.command, arguments, catch_exceptions=False)
        return str(caught.value)

    return run


def test_a_session_needs_a_terminal(refused):
    assert "needs a terminal" in refused()


def test_a_command_needs_ssh(refused):
    assert "dmasafe shell --ssh -- COMMAND" in refused("--", "ls")


def test_a_module_and_a_directory_that_are_not_there_are_said_at_once(refused, tmp_path):
    assert "no module directory" in refused("--module", str(tmp_path / "none"))
    assert "has no Kbuild file" in refused("--module", str(tmp_path))


def test_an_image_without_a_server_is_said_at_once(refused):
    assert "--image python" in refused("--ssh", "--image", "minimal")


def test_a_kernel_without_a_network_is_said_at_once(refused):
    sentence = refused("--ssh", "--config", "default")
    assert "INET" in sentence and "--config default+network" in sentence


@pytest.mark.parametrize(
    ("arguments", "configuration", "image"),
    [
        (("--ssh",), "board", "python"),
        (("--gdb",), "default+debug-info", "minimal"),
        (("--ssh", "--gdb"), "board+debug-info", "python"),
        (("--ssh", "--config", "debug-sg+network"), "debug-sg+network", "python"),
        (("--gdb", "--config", "default+debug-info", "--image", "python"), "default+debug-info", "python"),
    ],
)
def test_defaults_follow_what_is_asked_for(monkeypatch, arguments, configuration, image):
    class Prepared(Exception):
        pass

    def prepare(source, wanted, arch, accel, progress, words, image_name):
        raise Prepared(wanted, image_name)

    monkeypatch.setattr(shell_command, "prepare", prepare)
    with pytest.raises(Prepared) as caught:
        CliRunner().invoke(shell_command.command, arguments, catch_exceptions=False)
    assert caught.value.args == (configuration, image)


def test_the_printed_lines_survive_a_shell(tmp_path):
    private = tmp_path / "with blank"
    private.mkdir()
    keys = make_keys(private)
    words = shlex.split(shell_command.ssh_line(keys, 4711))
    assert words[words.index("-i") + 1] == str(keys.identity) and words[-1] == "root@127.0.0.1"
    assert words[words.index("-p") + 1] == "4711"
    known_hosts = next(word.partition("=")[2] for word in words if word.startswith("UserKnownHostsFile="))
    assert Path(known_hosts.strip('"')).read_text().startswith("[127.0.0.1]:4711 ")
    line = shell_command.gdb_line(Path("/a b/vmlinux"), private / "gdb.sock")
    assert shlex.split(line) == ["gdb", "-ex", f"target remote {private}/gdb.sock", "/a b/vmlinux"]
