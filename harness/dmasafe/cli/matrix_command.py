# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix``: a subcommand NAME is ``matrix/NAME.py``."""

from __future__ import annotations

import importlib.util

import click

from dmasafe.cli.lazy import LazyGroup
from dmasafe.errors import DmasafeError

SUBCOMMANDS = {
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


class _Subcommands(LazyGroup):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing and ctx.resilient_parsing:
            # A shell completes: no place for a sentence.
            return None
        if missing:
            raise DmasafeError(f"'dmasafe matrix' needs {', '.join(missing)}: pip install 'dmasafe[matrix]'")
        return super().get_command(ctx, cmd_name)


@click.command(
    name="matrix",
    cls=_Subcommands,
    sections={"Commands": SUBCOMMANDS},
    module="dmasafe.cli.matrix.{}",
    epilog="Example: dmasafe matrix regressions --since latest",
)
def command() -> None:
    """Cells over time: kernel sources, architectures, configurations, and what changed."""
