# SPDX-License-Identifier: GPL-2.0-or-later
"""The linter sees who imports dmasafe.cli; nobody may run it as a process either, but who tests the command itself."""

from pathlib import Path

import dmasafe

PACKAGE = Path(dmasafe.__file__).parent
# It wrecks runs from outside, as a user would have them.
TESTS_THE_COMMAND = "selftest"


def test_no_package_runs_the_command_line():
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("__main__.py", "cli", TESTS_THE_COMMAND)
    ]
    assert len(files) > 200
    assert [path.name for path in files if "dmasafe.cli" in path.read_text(encoding="utf-8")] == []
