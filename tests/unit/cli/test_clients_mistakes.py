# SPDX-License-Identifier: GPL-2.0-or-later
"""dmasafe clients: a user's mistakes end in one sentence, before anything is built."""

import pytest
from click.testing import CliRunner

from dmasafe.cli.clients_command import command
from dmasafe.scenario import ScenarioError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lm57"], "there is no client 'lm57'"),
        (["--place", "dmasafe"], "there is no place 'dmasafe'"),
        (["--place", "i8042"], "there is no controller 'i8042'"),
    ],
)
def test_a_name_that_there_is_not(arguments, words, tmp_path):
    result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path)])
    assert isinstance(result.exception, ScenarioError) and words in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_phase_that_there_is_not(tmp_path):
    result = CliRunner().invoke(command, ["--phase", "dance", "--out", str(tmp_path)])
    assert result.exit_code == 2 and "probe" in result.output


def test_the_help_has_an_example_and_the_configuration():
    output = CliRunner().invoke(command, ["--help"]).output
    assert "dmasafe clients" in output and "upstream" in output
