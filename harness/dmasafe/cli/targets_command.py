# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe targets``: what this host sees that scenarios could run on, and how to name it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import click

from dmasafe.cli.output import Output, output_options
from dmasafe.report.text import visible
from dmasafe.targets.host import Seen, look

USAGE = (
    "dmasafe run --target ssh:[USER@]HOST[:PORT] --kdir PATH",
    "dmasafe run --target serial:DEVICE[@BAUD] --kdir PATH",
    "dmasafe run --target local --suite board --bus N --address 0xNN     (as root)",
)


def lines(seen: Seen) -> Iterable[str]:
    """For people."""
    yield "serial adapters:"
    for port in seen.serial:
        yield f"  serial:{port.stable or port.device}  {port.what} ({port.device}, driver {port.driver or 'none'})"
    yield from () if seen.serial else ("  none",)
    yield "I2C adapters of this machine (target local):"
    for adapter in seen.i2c:
        missing = "" if adapter.has_device_file else "; modprobe i2c-dev"
        yield f"  --bus {adapter.number}  {adapter.name} (driver {adapter.driver or 'none'}{missing})"
    yield from () if seen.i2c else ("  none",)
    yield "USB I2C bridges:"
    for bridge in seen.usb_bridges:
        state = "bound" if bridge.bound else f"no driver has it; modprobe {bridge.driver}"
        yield f"  {bridge.vendor}:{bridge.product}  {bridge.what} (driver {bridge.driver}, {state})"
    yield from () if seen.usb_bridges else ("  none",)
    yield "to run scenarios there (docs/targets.md):"
    for line in USAGE:
        yield f"  {line}"


@click.command(name="targets", epilog="Example: dmasafe targets --format json")
@output_options("table", "json", flags={"--json": "json"})
def command(output: Output) -> None:
    """List serial adapters with stable names, I2C adapters with their drivers, and USB I2C bridges."""
    seen = look()
    output.show(
        table=lambda: (visible(" ".join(line.split("\n"))) for line in lines(seen)),
        json=lambda: asdict(seen) | {"usage": list(USAGE)},
    )
