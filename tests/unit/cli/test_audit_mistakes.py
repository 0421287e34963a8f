# SPDX-License-Identifier: GPL-2.0-or-later
"""What cannot be audited is said in one sentence, before anything is built or booted."""

import pytest
from click.testing import CliRunner

from dmasafe.cli.audit_command import command
from dmasafe.errors import DmasafeError


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--suite", "smoke", "--seconds", "3"], "one of them"),
        (["--suite", "smoke", "--", "ls"], "one of them"),
        (["--target", "model"], "no kernel that could be audited"),
        (["--target", "local", "--suite", "smoke"], "for the guest in QEMU"),
        (["--target", "ssh:board", "--module", "."], "for the guest in QEMU"),
        (["--suite", "smoke", "--policy", "pio"], "scenarios say themselves"),
        (["--scenario", "heap/*/virtio/8", "--module", "."], "scenarios say themselves"),
        (["--target", "moon"], "there is no target 'moon'"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(arguments, why):
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, DmasafeError) and why in str(result.exception)


def test_help_has_an_example():
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0 and "dmasafe audit --suite smoke" in " ".join(result.output.split())
