# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: ``dmasafe``, one file per command. Here is what all of them share.

A DmasafeError is the user's to mend: one sentence on standard error and exit status 2. Anything else is a bug of
ours and shows its traceback.
"""

from __future__ import annotations

import importlib
import sys

import click

from dmasafe.errors import DmasafeError

EXIT_TROUBLE = 2
EXIT_INTERRUPTED = 130

# Command -> (module, one line of help): modules are imported when used, so that --help and list stay quick.
COMMANDS: dict[str, str] = {
    "audit": "Every I2C message of a running kernel: may DMA touch its buffer, and who sent it?",
    "bisect": "Which commit of a kernel tree, or of a driver's, made it go wrong?",
    "buses": "Who maps a buffer and who bounces it on SPI, SPMI, SLIMbus, 1-Wire: the table of docs/buses.md.",
    "clients": "Upstream's client drivers on the emulated controllers, from probe to removal.",
    "conform": "The model against a real kernel, on scenarios by lot.",
    "detection": "Which of a driver's mistakes is noticed, and by whom: the table of docs/detection.md.",
    "doctor": "What is installed here, which accelerator works, what to do about the rest.",
    "explain": "What a class of splat means, which rule it breaks, how to fix it.",
    "findings": "What upstream does wrong, reproduced on the kernels at hand.",
    "kernel": "Build kernels, and list what is built.",
    "list": "What there is to run: suites, buffer kinds, operations, controllers.",
    "matrix": "Cells over time: record results, compare nights, report.",
    "parse": "Find the kernel's reports in any log.",
    "predicates": "The kernel's address predicates against every buffer kind, measured in the guest.",
    "repro": "Reproduce the splats of a log on the kernel at hand.",
    "run": "Run scenarios and judge them.",
    "selftest": "Wreck runs in every known way: does the harness notice, say why, clean up?",
    "shell": "An interactive guest with the bus plugged in.",
    "targets": "What this host sees that scenarios could run on: serial lines, I2C adapters, USB bridges.",
}


class _Commands(click.Group):
    """Commands by name, each loaded from the module of the same name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"dmasafe.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: dmasafe run --target qemu --suite smoke",
)
@click.version_option(package_name="dmasafe")
def group() -> None:
    """May DMA touch this buffer? Scenarios on real kernels in QEMU, judged by four oracles."""


def main() -> None:
    """The entry point; exits with the command's status."""
    try:
        status = group.main(prog_name="dmasafe", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DmasafeError as error:
        click.echo(f"dmasafe: {error}", err=True)
        sys.exit(EXIT_TROUBLE)
    except (KeyboardInterrupt, click.Abort):
        click.echo("dmasafe: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (| head): nothing to say, and nowhere to say it.
        sys.stderr.close()
        sys.exit(EXIT_TROUBLE)
    sys.exit(status if isinstance(status, int) else 0)
