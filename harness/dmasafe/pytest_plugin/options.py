# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin's options, one row each. Read by every pytest run on the machine: nothing is imported but typing."""

from __future__ import annotations

from typing import NamedTuple

TARGETS = ("qemu", "model")
SCOPES = ("session", "class", "function")
AUDITS = ("strict", "here", "off")


class Option(NamedTuple):
    """One option; its ini name is also its attribute of Settings, without ``dmasafe_``."""

    flag: str
    metavar: str
    default: str
    help: str
    choices: tuple[str, ...] | None = None

    @property
    def ini(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


OPTIONS = (
    Option("--dmasafe-target", "NAME", "qemu", f"where tests run: {' or '.join(TARGETS)} (default: qemu)", TARGETS),
    Option("--dmasafe-kernel", "SOURCE", "", "kernel under test, as for 'dmasafe run --kernel'"),
    Option("--dmasafe-kdir", "DIR", "", "kernel under test: a tree of yours"),
    Option("--dmasafe-config", "NAME", "default", "configuration of the kernel under test (default: default)"),
    Option("--dmasafe-strict", "HOW", "auto", "a machine that punishes what DMA must not rely on: on, off, or auto: on "
           "with the configurations default, no-dma-debug, upstream on x86_64 (default: auto)", ("auto", "on", "off")),
    Option("--dmasafe-arch", "NAME", "", "architecture of the kernel under test (default: this machine's)"),
    Option("--dmasafe-image", "NAME", "minimal", "what the guest has besides the agent (default: minimal)"),
    Option("--dmasafe-accel", "NAME", "", "QEMU accelerator (default: the first that proves to work)"),
    Option("--dmasafe-boot-scope", "SCOPE", "session", f"who shares a boot: {', '.join(SCOPES)} (default: session)",
           SCOPES),
    Option("--dmasafe-audit", "HOW", "strict", "which buffers fail a test: strict (those that DMA must not touch on "
           "some machine), here (those that do harm on the machine under test), off (default: strict)", AUDITS),
)  # fmt: skip
