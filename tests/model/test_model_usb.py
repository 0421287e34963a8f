# SPDX-License-Identifier: GPL-2.0-or-later
"""What the model says of upstream's USB bridges, with the line of the driver or of USB core that decides it."""

from dataclasses import replace

import pytest

from dmasafe.facts import KernelFacts
from dmasafe.model import Config, ModelKernel, predict
from dmasafe.outcome import Outcome, Skip
from dmasafe.scenario import CONTROLLERS, parse_scenario

BRIDGES = {name: row for name, row in CONTROLLERS.items() if row.plug and row.plug.hcd}
SYMBOLS = frozenset(
    {symbol for row in BRIDGES.values() for symbol in row.needs}
    | {"DMA_API_DEBUG", "VMAP_STACK", "I2C_CHARDEV", "MODULES", "KALLSYMS_ALL", "I2C_VIRTIO", "64BIT"}
)
KERNEL = KernelFacts("x86_64", (6, 12, 117), SYMBOLS)


def expected(text, kernel=KERNEL):
    found = predict(parse_scenario(text), kernel)
    assert not isinstance(found, Skip), found
    return found.outcome, found.classes


def test_every_bridge_is_modelled_behind_its_host_controller():
    assert len(BRIDGES) >= 10
    kernel = ModelKernel(Config.of(KERNEL))
    for name, row in BRIDGES.items():
        assert kernel.adapter(name).algo.platform.hcd == row.plug.hcd
        assert kernel.devices[name].name == row.plug.function


@pytest.mark.parametrize("name", [name for name, row in BRIDGES.items() if not row.model.trusting])
@pytest.mark.parametrize("kind", ["heap", "stack", "vmalloc", "module-data", "percpu", "data"])
@pytest.mark.parametrize("operation", ["master_send", "master_recv", "master_send_dmasafe", "master_recv_dmasafe"])
def test_a_driver_that_copies_takes_any_memory(name, kind, operation):
    assert expected(f"{kind}/{operation}/{name}/32") == (Outcome.SAFE, ())


def test_a_host_controllers_mappings_are_strict_too():
    strict = replace(KERNEL, strict_line=64)
    for name in ("osif", "osif-ehci"):
        outcome, classes = expected(f"module-data/master_recv/{name}/9", strict)
        assert outcome is Outcome.CAUGHT and set(classes) == {"map-invalid-area", "strict-memory"}
        assert expected(f"heap/master_recv/{name}/9", strict) == (Outcome.SAFE, ())


STACK = (Outcome.CAUGHT, ("usb-buffer-on-stack",))
SAFE = (Outcome.SAFE, ())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # xhci_urb_suitable_for_idt(): up to 8 bytes going out are copied.
        ("stack/master_send/osif/1", SAFE),
        ("stack/master_send/osif/8", SAFE),
        ("stack/master_send/osif/9", STACK),
        ("vmalloc/master_send/osif/8", SAFE),
        ("stack/master_recv/osif/1", STACK),
        # EHCI maps whatever there is.
        ("stack/master_send/osif-ehci/1", STACK),
        # dma_map_single() itself rejects vmalloc; usb_hcd_map_urb_for_dma() has no word of its own for it.
        ("vmalloc/master_recv/osif/8", (Outcome.CAUGHT, ("map-vmalloc-rejected",))),
        ("vmalloc/master_send/osif/9", (Outcome.CAUGHT, ("map-vmalloc-rejected",))),
        ("module-data/master_recv/osif/8", (Outcome.CAUGHT, ("map-invalid-area",))),
        ("heap/master_recv/osif/8", SAFE),
        # What the caller promises does not matter to this driver.
        ("stack/master_recv_dmasafe/osif/8", STACK),
        # i2c_smbus_xfer_emulated() reads into an array on the stack.
        ("user/i2cdev_smbus/osif/1@20+command=17+protocol=byte_data+rd=1", STACK),
        ("user/i2cdev_smbus/osif/1@20+command=17+protocol=byte_data+rd=0", SAFE),
        ("user/i2cdev_smbus/osif-ehci/1@20+command=17+protocol=byte_data+rd=0", STACK),
        ("user/i2cdev_smbus/tiny-usb/1@20+command=17+protocol=byte_data+rd=1", SAFE),
    ],
)
def test_what_osif_does_with_a_buffer_depends_on_memory_direction_length_and_host_controller(text, wanted):
    assert expected(text) == wanted


@pytest.mark.parametrize("version", [(5, 10, 223), (6, 1, 192), (6, 12, 117), (7, 2, 13)])
def test_a_stack_in_the_linear_map_is_on_the_stack_too(version):
    kernel = KernelFacts("x86_64", version, SYMBOLS - {"VMAP_STACK"})
    assert expected("stack/master_recv/osif/8", kernel) == STACK


@pytest.mark.parametrize("name", BRIDGES)
def test_nobody_at_the_address_is_an_error(name):
    assert expected(f"user/i2cdev_write/{name}/8@77") == (Outcome.REFUSED, ())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("heap/master_send/cp2615/54", Outcome.SAFE),
        ("heap/master_send/cp2615/55", Outcome.REFUSED),
        ("heap/master_recv/dln2/257", Outcome.REFUSED),
        ("heap/master_send/cp2112/61", Outcome.SAFE),
        ("heap/master_send/cp2112/62", Outcome.REFUSED),
        ("user/i2cdev_rdwr/ft260/8+messages=w3,r8", Outcome.REFUSED),
        ("user/i2cdev_rdwr/ft260/8+messages=w2,r8", Outcome.SAFE),
        ("user/i2cdev_rdwr/mcp2221/8+messages=w1,w1", Outcome.REFUSED),
        ("heap/master_send/viperboard/503", Outcome.SAFE),
        # vprbrd_i2c_write() copies the first piece from where the second one is.
        ("heap/master_send/viperboard/504", Outcome.SILENT),
    ],
)
def test_limits_and_mistakes_of_the_drivers_are_known(text, wanted):
    assert expected(text)[0] is wanted


def test_a_kernel_without_the_driver_has_no_such_scenario():
    kernel = KernelFacts("x86_64", (6, 12, 117), SYMBOLS - {"HID_FT260"})
    found = predict(parse_scenario("heap/master_send/ft260/8"), kernel)
    assert isinstance(found, Skip) and "CONFIG_HID_FT260" in found.why
