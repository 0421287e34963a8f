# SPDX-License-Identifier: GPL-2.0-or-later
"""The function to look at first is the one a maintainer would name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmasafe.dmesg import Blame, blame, parse
from dmasafe.dmesg.culprit import MACHINERY
from dmasafe.dmesg.headers import read_frame
from dmasafe.outcome import Splat

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"


def splat(*lines: str, function: str | None = None, slug: str = "map-stack", **fields: str) -> Splat:
    frames = tuple(frame for frame in map(read_frame, lines) if frame is not None)
    assert len(frames) == len(lines)
    return Splat(slug, None, None, "", fields=dict(fields), function=function, frames=frames)


CORE = (
    "check_for_stack+0xb6/0xe0",
    "debug_dma_map_page+0x1a2/0x1f0",
    "dma_map_page_attrs+0x6a/0x2b0",
)


@pytest.mark.parametrize(
    ("lines", "function", "module"),
    [
        ((*CORE, "foo_xfer+0x1/0x2 [i2c_foo]", "__i2c_transfer+0x1/0x2"), "foo_xfer", "i2c_foo"),
        ((*CORE, "foo_xfer.constprop.0+0x1/0x2", "__i2c_transfer+0x1/0x2"), "foo_xfer.constprop.0", None),
        ((*CORE, "? foo_stale+0x1/0x2", "foo_xfer+0x1/0x2"), "foo_xfer", None),
        ((*CORE, "? foo_xfer+0x1/0x2", "__i2c_transfer+0x1/0x2 [i2c_core]"), "foo_xfer", None),
        # A helper of any name, in a driver's module, is the driver's.
        ((*CORE, "dma_map_buffer+0x1/0x2 [i2c_foo]"), "dma_map_buffer", "i2c_foo"),
        # The core may be a module, too.
        ((*CORE, "__i2c_transfer+0x1/0x2 [i2c_core]", "client_probe+0x1/0x2 [client]"), "client_probe", "client"),
        (
            (*CORE, "__i2c_transfer+0x1/0x2", "i2c_transfer+0x1/0x2", "i2cdev_ioctl_rdwr+0x1/0x2", "vfs_ioctl+0x1/0x2"),
            "i2cdev_ioctl_rdwr",
            None,
        ),
        (
            (
                "usb_hcd_map_urb_for_dma+0x1/0x2 [usbcore]",
                "usb_hcd_submit_urb+0x1/0x2 [usbcore]",
                "usb_start_wait_urb+0x1/0x2 [usbcore]",
                "usb_control_msg+0x1/0x2 [usbcore]",
                "osif_xfer+0x1/0x2 [i2c_robotfuzz_osif]",
            ),
            "osif_xfer",
            "i2c_robotfuzz_osif",
        ),
        # i2c-tiny-usb, built in: names like the core's, which they are not.
        (("usb_control_msg+0x1/0x2", "usb_read+0x1/0x2", "usb_xfer+0x1/0x2"), "usb_read", None),
        (
            (
                "dma_map_page_attrs+0x1/0x2",
                "vring_map_one_sg+0x1/0x2",
                "virtqueue_add_sgs+0x1/0x2 [virtio_ring]",
                "virtio_i2c_xfer+0x1/0x2 [i2c_virtio]",
            ),
            "virtio_i2c_xfer",
            "i2c_virtio",
        ),
        # Nothing but machinery: whoever called it last is missing, and system calls are nobody.
        ((*CORE, "__i2c_transfer+0x1/0x2", "do_syscall_64+0x1/0x2"), "__i2c_transfer", None),
        (
            ("foo_xfer (include/linux/dma-mapping.h:330 drivers/i2c/busses/i2c-foo.c:12) i2c_foo",),
            "foo_xfer",
            "i2c_foo",
        ),
        (
            ("dma_map_single_attrs include/linux/dma-mapping.h:330 [inline]", "foo_xfer+0x1/0x2 [i2c_foo]"),
            "foo_xfer",
            "i2c_foo",
        ),
    ],
)
def test_the_first_frame_outside_the_machinery_is_blamed(lines: tuple[str, ...], function: str, module: str) -> None:
    found = blame(splat(*lines))
    assert found is not None
    assert (found.function, found.module) == (function, module)


def test_a_leak_is_blamed_on_whoever_mapped() -> None:
    found = blame(
        splat(
            "dma_debug_device_change+0x1/0x2",
            "notifier_call_chain+0x1/0x2",
            "foo_unbind+0x1/0x2 [foo]",
            slug="leak-on-release",
            mapped_at="debug_dma_map_phys+0x1/0x2 < dma_map_phys+0x1/0x2 < foo_xfer+0x1f3/0x4d0 [i2c_foo]",
        )
    )
    assert found == Blame("foo_xfer", "i2c_foo")


def test_bytes_that_are_lost_in_an_interrupt_are_blamed_on_whoever_mapped_beside_them() -> None:
    mapped_at = "strict_map_page+0x1/0x2 [dmasafe_strict] < dma_map_page_attrs+0x1/0x2 < foo_xfer+0x1f3/0x4d0 [i2c_foo]"
    frames = ("strict_unmap+0x1/0x2 [dmasafe_strict]", "dma_unmap_page_attrs+0x1/0x2", "bar_interrupt+0x1/0x2")
    found = blame(splat(*frames, slug="strict-line-lost", mapped_at=mapped_at))
    assert found == Blame("foo_xfer", "i2c_foo")


def test_a_warning_of_its_own_names_the_line_but_not_that_of_a_header() -> None:
    text = "WARNING: CPU: 0 PID: 35 at {}:381 foo_xfer+0x12/0x34 [foo]"
    (own,) = parse([text.format("drivers/i2c/foo.c")])
    (inlined,) = parse([text.format("include/linux/dma-mapping.h")])
    assert blame(own) == Blame("foo_xfer", "foo", "drivers/i2c/foo.c", 381)
    assert blame(inlined) == Blame("foo_xfer", "foo")


def test_a_splat_without_frames_blames_nobody() -> None:
    assert blame(splat()) is None
    assert blame(splat(function="check_unmap")) == Blame("check_unmap")


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("synthetic-6.12-map-stack", "dmasafe_xfer"),
        ("synthetic-5.10-arm-free-size", "omap_i2c_xfer"),
        ("synthetic-7.2-leak-on-release", "dmasafe_xfer"),
        ("synthetic-6.12-sg-virt-invalid", "virtio_i2c_xfer"),
        ("synthetic-6.12-kasan", "foo_read"),
    ],
)
def test_whole_logs_blame_the_driver(name: str, function: str) -> None:
    (found,) = parse((FIXTURES / f"{name}.log").read_bytes().splitlines())
    blamed = blame(found)
    assert blamed is not None
    assert blamed.function == function


def test_every_row_of_the_table_says_why() -> None:
    assert all(row.why and row.names for row in MACHINERY)
    names = [name for row in MACHINERY for name in row.names]
    assert len(names) == len(set(names))
