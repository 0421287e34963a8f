# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command there is: its help."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from dmasafe.cli import group


def walk(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command below ``command`` with the words that call it, the groups included."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, *words, name)


TREE = dict(walk(group))


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_help_of_every_command_has_an_example(words):
    done = CliRunner().invoke(group, [*words, "--help"], terminal_width=120)
    assert done.exit_code == 0, done.output
    assert "Example" in done.output


def test_help_lists_every_command_below_one_heading():
    done = CliRunner().invoke(group, ["--help"])
    headings = [line for line in done.output.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Options:",
        "Everyday:",
        "Drivers and boards:",
        "Kernels over time:",
        "About the harness itself:",
    ]
    for words in TREE:
        if len(words) == 1:
            assert done.output.count(f"\n  {words[0]} ") == 1
