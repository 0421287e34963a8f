# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix``: one file a subcommand, ``matrix_NAME.py``, each with its ``command``."""

from __future__ import annotations

import importlib
import importlib.util

import click

from dmasafe.errors import DmasafeError

# Subcommand -> one line of help: modules are imported when used, as those of the commands are.
SUBCOMMANDS: dict[str, str] = {
    "list": "What there is to run: selections, and their cells.",
    "run": "Build, boot and judge every cell of a selection.",
    "emit": "The jobs of a selection for GitHub, GitLab or LAVA.",
    "export": "Runs for KernelCI's database, or as test cases of a LAVA job.",
    "compare": "What changed between two runs, nights or revisions.",
    "record": "Write results into the history.",
    "regressions": "What is worse than before a time: for CI.",
    "report": "The history as a static site.",
    "summary": "By version and architecture: failures, agreement, detection.",
}
# The modules that come with the extra `matrix` of pyproject.toml and that no other command imports.
NEEDED = ("distributed", "fsspec", "jinja2", "sqlalchemy", "yaml")


class _Subcommands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise DmasafeError(f"dmasafe matrix needs {', '.join(missing)}: pip install 'dmasafe[matrix]'")
        command = importlib.import_module(f"dmasafe.cli.matrix_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


@click.command(name="matrix", cls=_Subcommands, epilog="Example: dmasafe matrix regressions --since latest")
def command() -> None:
    """Cells over time: kernel sources, architectures, configurations, and what changed."""
