# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-tree source that hosts have in common: clocks, reset lines, the controller's own node (DeviceTree.node)."""

from __future__ import annotations

from collections.abc import Sequence


def clock(hertz: int, of: str = "") -> str:
    """A fixed clock ``{label}_clk``; ``of`` is what the names of another one than the controller's own have besides."""
    return f"""
        {{label}}{of}_clk: clock-{{name}}{of} {{{{
            compatible = "fixed-clock";
            #clock-cells = <0>;
            clock-frequency = <{hertz}>;
        }}}};"""


def reset(window: int) -> str:
    """Reset lines ``{label}_rst`` whose registers are the window of this number: reset-simple.c."""
    return f"""
        {{label}}_rst: reset-controller-{{name}} {{{{
            compatible = "snps,dw-low-reset";
            reg = <{{reg{window}}}>;
            #reset-cells = <1>;
        }}}};"""


def engine(window: int) -> str:
    """The DMA controller ``{label}_dma``, which is a reset line too: nothing is it before its module is loaded."""
    return f"""
        {{label}}_dma: dma-controller@{{base}} {{{{
            compatible = "dmasafe,dmaengine";
            reg = <{{reg{window}}}>;
            #dma-cells = <1>;
            #reset-cells = <1>;
        }}}};"""


def i2c(
    compatible: str,
    hertz: int,
    clocks: Sequence[str] = (),
    lines: str = "",
    *,
    nodes: str = "",
    reg: str = "{reg0}",
    interrupts: str = "interrupts = <{interrupt}>;",
) -> str:
    """The controller behind its clock of ``hertz``.

    The clock is all those that the driver asks for by the names ``clocks``, or the one without a name. ``lines`` are
    further properties, ``nodes`` further nodes before the controller.
    """
    own = ", ".join(["<&{label}_clk>"] * max(1, len(clocks)))
    named = f"clock-names = {quoted(clocks)};" if clocks else ""
    return f"""{clock(hertz)}{nodes}
        i2c@{{base}} {{{{
            compatible = "{compatible}";
            reg = <{reg}>;
            {interrupts}
            clocks = {own};
            {named}
            {lines}
            #address-cells = <1>;
            #size-cells = <0>;
        }}}};"""


def quoted(names: Sequence[str]) -> str:
    """A list of strings."""
    return ", ".join(f'"{name}"' for name in names)
