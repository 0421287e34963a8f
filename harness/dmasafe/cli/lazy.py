# SPDX-License-Identifier: GPL-2.0-or-later
"""A group of commands, each in a module that is imported when it is used: --help and completion stay quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from dmasafe.errors import unknown


class Group(click.Group):
    """A group that names the nearest command for one that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(unknown("command", name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """``sections``: heading -> command -> one line of help. ``{}`` in ``module`` stands for the command's name."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]], module: str, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._sections = sections
        self._module = module

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for rows in self._sections.values() for name in rows]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not any(cmd_name in rows for rows in self._sections.values()):
            return None
        command = importlib.import_module(self._module.format(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        rows = [row for section in self._sections.values() for row in section.items() if row[0].startswith(incomplete)]
        return [CompletionItem(name, help=text) for name, text in rows] + click.Command.shell_complete(
            self, ctx, incomplete
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, rows in self._sections.items():
            with formatter.section(heading):
                formatter.write_dl(list(rows.items()))
