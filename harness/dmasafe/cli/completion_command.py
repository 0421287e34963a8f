# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe completion``: the script that makes a shell complete commands, options, scenarios, suites and the like."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# What main() looks for: click's own name.
VARIABLE = "_DMASAFE_COMPLETE"


@click.command(
    name="completion",
    epilog="Examples: dmasafe completion bash > ~/.local/share/bash-completion/completions/dmasafe | "
    "dmasafe completion zsh > ~/.zfunc/_dmasafe | dmasafe completion fish > ~/.config/fish/completions/dmasafe.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, scenarios, suites, configurations and the like.

    The examples install it; for zsh the directory must be in $fpath, before compinit.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    if shell == "bash":
        # Bash would break a scenario's id at its colon.
        click.echo("COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}")
    click.echo(kind(context.find_root().command, {}, "dmasafe", VARIABLE).source())
