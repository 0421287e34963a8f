# SPDX-License-Identifier: GPL-2.0-or-later
"""A transfer has two sides: both are shown, and which of them is wrong."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from dmasafe.cli.explain_command import command as explain
from dmasafe.cli.parse_command import command as parse
from dmasafe.dmesg.headers import read_frame
from dmasafe.dmesg.parties import parties
from dmasafe.outcome import Splat

CLIENT = ("foo_touch_read_reg+0x84/0xd0 [foo_touch]", "foo_touch_irq+0x38/0x120 [foo_touch]", "irq_thread_fn+0x34/0xc0")
CORE = ("__i2c_transfer+0x1c0/0x960", "i2c_transfer+0x68/0x150")
LPI2C = ("lpi2c_dma_xfer+0x5f0/0x6a0 [i2c_imx_lpi2c]", "lpi2c_imx_xfer+0x1a8/0x7b0 [i2c_imx_lpi2c]")
TRACE = "\n ".join((*LPI2C, *CORE, *CLIENT))
LOG = f"""\
------------[ cut here ]------------
fsl-edma 44000000.dma-controller: rejecting DMA map of vmalloc memory
WARNING: CPU: 1 PID: 214 at include/linux/dma-mapping.h:373 {LPI2C[0]}
CPU: 1 UID: 0 PID: 214 Comm: irq/88-foo Tainted: G O 6.18.4 #1
Call trace:
 {TRACE}
---[ end trace 0000000000000000 ]---
"""


def splat(*lines: str, slug: str = "map-vmalloc-rejected") -> Splat:
    frames = tuple(frame for frame in map(read_frame, lines) if frame is not None)
    assert len(frames) == len(lines)
    return Splat(slug, None, None, "", frames=frames)


@pytest.mark.parametrize(
    ("controller", "core", "slug", "culprit", "word"),
    [
        (LPI2C, CORE, "map-vmalloc-rejected", "client", "i2c_get_dma_safe_msg_buf"),
        (("rcar_i2c_dma+0x1/0x2", "rcar_i2c_master_xfer+0x1/0x2"), CORE, "map-stack", "client", "I2C_M_DMA_SAFE only"),
        (("osif_xfer+0x1/0x2",), CORE, "usb-buffer-on-stack", "controller", "whether it is marked or not"),
        (LPI2C, ("i2c_smbus_xfer_emulated+0x1/0x2",), "map-stack", "controller", "SMBus functions never mark"),
        (LPI2C, CORE, "free-size", "controller", "its own doing"),
        (("bar_xfer+0x1/0x2 [i2c_bar]",), CORE, "map-stack", "", "the client is wrong if it marked"),
    ],
)
def test_which_of_both_is_wrong(
    controller: tuple[str, ...], core: tuple[str, ...], slug: str, culprit: str, word: str
) -> None:
    both = parties(splat(*controller, *core, *CLIENT, slug=slug))
    assert both is not None
    assert (both.controller.function, both.client.function) == (controller[0].split("+")[0], "foo_touch_read_reg")
    assert both.culprit == culprit
    assert word in both.why


def test_layers_between_the_core_and_a_driver_are_no_side() -> None:
    mux = ("i2c_mux_master_xfer+0x1/0x2 [i2c_mux]", *CORE)
    both = parties(splat(*LPI2C, *CORE, *mux, "regmap_i2c_read+0x1/0x2", "_regmap_raw_read+0x1/0x2", *CLIENT))
    assert both is not None and both.client.function == "foo_touch_read_reg"


@pytest.mark.parametrize(
    ("frames", "slug"),
    [
        ((*LPI2C, *CORE), "map-stack"),
        ((*LPI2C, *CORE, "kthread+0x1/0x2", *CLIENT), "map-stack"),
        (CLIENT, "map-stack"),
        ((*CORE, *CLIENT), "map-stack"),
        ((*LPI2C, *CORE, *CLIENT), "other"),
    ],
)
def test_a_side_that_the_trace_does_not_show_is_not_made_up(frames: tuple[str, ...], slug: str) -> None:
    assert parties(splat(*frames, slug=slug)) is None


@pytest.mark.parametrize(
    ("command", "arguments"), [(parse, ("--format", "ktap", "-")), (parse, ("-",)), (explain, ("-",))]
)
def test_parse_and_explain_show_both_and_the_reason(command, arguments) -> None:  # type: ignore[no-untyped-def]
    said = CliRunner().invoke(command, arguments, input=LOG).output
    # A table folds its cells.
    for word in ("controller", "lpi2c_dma_xfer", "client", "foo_touch_read_reg"):
        assert word in said
    assert "the client is wrong: it marked the buffer I2C_M_DMA_SAFE" in said
