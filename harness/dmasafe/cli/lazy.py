# SPDX-License-Identifier: GPL-2.0-or-later
"""A group of commands, each in a module that is imported when it is used: --help and completion stay quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
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
