# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: ``dmasafe``, one file per command. Here is what all of them share.

A DmasafeError is a user error: one sentence on standard error, exit status 2. What else may come is in guard.py.
"""

from __future__ import annotations

import gc
import sys

import click

from dmasafe.cli.guard import guard_streams, hear_signals, status_of
from dmasafe.cli.lazy import LazyGroup

# Heading -> command -> one line of help; a command NAME is NAME_command.py.
SECTIONS = {
    "Everyday": {
        "run": "Run scenarios and judge them.",
        "parse": "Find the kernel's reports in any log.",
        "explain": "What a class of splat means, which rule it breaks, how to fix it.",
        "repro": "Reproduce the splats of a log on the kernel at hand.",
        "compare": "What changed between two runs, or two directories of them.",
        "list": "What there is to run: suites, buffer kinds, operations, controllers.",
        "shell": "An interactive guest with the bus plugged in.",
        "doctor": "What is installed here, which accelerator works, what to do about the rest.",
    },
    "Drivers and boards": {
        "clients": "Upstream's client drivers on the emulated controllers, from probe to removal.",
        "prove": "What the check suspects of upstream's drivers, shown by a boot or not.",
        "findings": "What upstream does wrong, reproduced on the kernels at hand.",
        "check": "Buffers in the source that DMA must not touch, and that go where it may.",
        "audit": "Every I2C message of a running kernel: may DMA touch its buffer, and who sent it?",
        "targets": "What this host sees that scenarios could run on: serial lines, I2C adapters, USB bridges.",
    },
    "Kernels over time": {
        "series": "What a patch series makes worse, compared with its own base.",
        "kernel": "Build kernels, list what is built, remove what is not used.",
        "matrix": "Cells over time: record results, compare nights, report.",
        "bisect": "Which commit of a kernel tree, or of a driver's, made it go wrong?",
    },
    "About the harness itself": {
        "completion": "Print what makes a shell complete the words of these commands.",
        "selftest": "Wreck runs in every known way: does the harness notice, say why, clean up?",
        "conform": "Compare the model with a real kernel, on random scenarios.",
        "detection": "Which of a driver's mistakes is noticed, and by whom: the table of docs/detection.md.",
        "buses": "Who maps a buffer and who bounces it on SPI, SPMI, SLIMbus, 1-Wire: the table of docs/buses.md.",
        "controllers": "What upstream's I2C controller drivers do with a buffer: the tables of docs/controllers.md.",
        "predicates": "The kernel's address predicates against every buffer kind, measured in the guest.",
    },
}


@click.command(
    cls=LazyGroup,
    sections=SECTIONS,
    module="dmasafe.cli.{}_command",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: dmasafe run --target qemu --suite smoke",
)
@click.version_option(package_name="dmasafe")
def group() -> None:
    """May DMA touch this buffer? Scenarios on real kernels in QEMU, judged by five oracles.

    Exit status: 0 and 1 are a command's answer, as its help says; 2 nothing can be said, or a user's mistake; 3 an
    internal error, to be reported; 128 and a signal ended by SIGINT, SIGTERM, SIGHUP, SIGQUIT before
    there was a result.
    """


def main() -> None:
    """The entry point; exits with the command's status."""
    guard_streams()
    # A run keeps nearly all that it makes: a collection after every 700 objects finds nothing, and looks at them again.
    gc.set_threshold(100_000, 50, 50)

    def command() -> object:
        hear_signals()
        return group.main(prog_name="dmasafe", standalone_mode=False)

    sys.exit(status_of(command))
