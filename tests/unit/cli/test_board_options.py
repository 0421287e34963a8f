# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of boards on the command line."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dmasafe.cli.board import board_options


@click.command()
@board_options
def command(**words: object) -> None:
    click.echo(words["oracle"])


@pytest.mark.parametrize("name", ["--oracle", "--witness"])
def test_the_trace_socket_is_named_by_its_new_and_its_old_name(name: str) -> None:
    assert CliRunner().invoke(command, [name, "/run/trace"]).output.strip() == str(Path("/run/trace"))


def test_help_shows_the_new_name_only() -> None:
    shown = CliRunner().invoke(command, ["--help"]).output
    assert "--oracle SOCKET" in shown
    assert "--witness" not in shown
