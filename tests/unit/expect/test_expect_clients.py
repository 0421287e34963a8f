# SPDX-License-Identifier: GPL-2.0-or-later
"""What a client driver's source promises on each controller, compared with what the audit saw."""

import dataclasses

import pytest

from dmasafe.audit import MessageKind
from dmasafe.expect import expect
from dmasafe.expect.client_drivers import CLIENT_DRIVERS, Phase, Sent
from dmasafe.expect.clients import (
    DEFAULT_PLACES,
    ClientScenario,
    _as_scenario,
    expect_client,
    parse_client,
    parse_client_scenario,
    parse_place,
)
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Frame, Observation, Outcome, Skip, outcome_of
from dmasafe.scenario import ScenarioError
from dmasafe.targets.clients import differences

SYMBOLS = {"DMA_API_DEBUG", "VMAP_STACK", "KALLSYMS_ALL", "MODULES", "I2C_VIRTIO", "I2C_ROBOTFUZZ_OSIF", "I2C_TINY_USB"}
SYMBOLS |= {row.needs for row in CLIENT_DRIVERS.values()}


def facts(version=(7, 2, 0), without=()):
    return KernelFacts("x86_64", version, frozenset(SYMBOLS).difference(without))


def what(client, phase, place, **kernel):
    return expect_client(ClientScenario(parse_client(client), Phase(phase), parse_place(place)), facts(**kernel))


@pytest.mark.parametrize("client", CLIENT_DRIVERS)
@pytest.mark.parametrize("place", ["dmasafe:bounce", "dmasafe:flag-only", "dmasafe:pio", "tiny-usb"])
def test_a_controller_that_asks_for_the_mark_or_copies_suits_every_driver(client, place):
    found = what(client, "probe", place)
    assert isinstance(found, Expectation) and found.outcome is Outcome.SAFE


@pytest.mark.parametrize(
    ("client", "phase", "place", "version", "classes"),
    [
        ("ds1307", "probe", "dmasafe:trusting", (7, 2, 0), ("map-vmalloc-rejected",)),
        ("elants_i2c", "probe", "osif", (7, 2, 0), ("usb-buffer-on-stack",)),
        ("ad5446", "use", "dmasafe:trusting", (6, 12, 0), ("map-vmalloc-rejected",)),
        ("ad5446", "use", "dmasafe:trusting", (7, 2, 0), None),
        ("tmp102", "use", "dmasafe:trusting", (7, 2, 0), None),
        ("ad5110", "use", "osif", (7, 2, 0), None),
    ],
)
def test_a_controller_that_trusts_finds_the_buffers_on_the_stack(client, phase, place, version, classes):
    found = what(client, phase, place, version=version)
    assert isinstance(found, Expectation)
    assert (found.outcome is Outcome.SAFE) == (classes is None)
    assert classes is None or found.classes == classes


def test_what_follows_a_probe_that_cannot_succeed_is_skipped():
    for phase in ("use", "suspend", "unbind", "remove", "messages"):
        found = what("ds1307", phase, "dmasafe:trusting")
        assert isinstance(found, Skip) and "probe" in found.why


def test_a_kernel_without_the_driver_is_named():
    assert "CONFIG_AD5110" in what("ad5110", "probe", "virtio", without={"AD5110"}).why
    assert "CONFIG_I2C_TINY_USB" in what("ad5110", "probe", "tiny-usb", without={"I2C_TINY_USB"}).why


def test_a_usb_bridge_is_not_suspended():
    assert isinstance(what("ad5110", "suspend", "osif"), Skip)


@pytest.mark.parametrize(("version", "skipped"), [((7, 2, 13), False), ((7, 3, 0), True), ((7, 3, 4), True)])
def test_a_guest_whose_ports_forget_their_host_is_not_suspended(version, skipped):
    found = what("ad5110", "suspend", "virtio", version=version)
    assert isinstance(found, Skip) is skipped
    assert not isinstance(what("ad5110", "unbind", "virtio", version=version), Skip)
    assert not skipped or "virtio_console" in found.why


def test_blocks_are_read_wrong_where_the_adapter_does_not_offer_them():
    assert what("adm1266", "use", "virtio").outcome is Outcome.SILENT
    assert what("adm1266", "use", "dmasafe:bounce").outcome is Outcome.SAFE


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (parse_place, "dmasafe", "dmasafe:bounce"),
        (parse_place, "dmasafe:magic", "dmasafe:bounce"),
        (parse_place, "virtio:bounce", "virtio"),
        (parse_place, "i8042", "virtio, dmasafe"),
        (parse_client, "lm57", "lm75"),
    ],
)
def test_a_name_that_there_is_not_says_which_there_are(parse, text, words):
    with pytest.raises(ScenarioError, match=words):
        parse(text)


def test_every_place_has_its_name_back():
    assert [parse_place(place.name) for place in DEFAULT_PLACES] == list(DEFAULT_PLACES)


KIND = MessageKind(
    1, "dmasafe", "dmasafe_controller", 0x2F, False, True, True, False, "slab", 3, 1, 2, frames=(Frame("ad5110_read"),)
)
SENT = Sent("struct-embedded", 2, True, True)


def test_messages_as_the_source_has_them_are_no_difference():
    assert list(differences([SENT], [KIND])) == []
    assert (
        list(
            differences(
                [Sent("stack", 1, True, False)], [dataclasses.replace(KIND, memory_class="stack", dma_safe=False)]
            )
        )
        == []
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory_class": "stack"}, "ad5110_read sends a marked read of up to 2 bytes, the stack of the calling task"),
        ({"dma_safe": False}, "sends a unmarked read"),
        ({"read": False}, "sends a marked write"),
    ],
)
def test_a_message_that_the_source_does_not_have_is_told_with_its_sender(change, words):
    first, second = differences([SENT], [dataclasses.replace(KIND, **change)])
    assert words in first and "was not sent" in second


def test_words_make_an_outcome():
    assert outcome_of(Observation(0, wrong=("the guest says 1, the slave holds 2",)))[0] is Outcome.SILENT
    assert outcome_of(Observation(0, error="probe: the driver did not bind")) == (
        Outcome.REFUSED,
        "probe: the driver did not bind",
    )
    assert outcome_of(Observation(0))[0] is Outcome.SAFE


@pytest.mark.parametrize("text", ["lm75/probe/virtio", "adm1266/use/dmasafe:bounce", "at24/messages/osif"])
def test_a_client_scenario_is_read_back_from_its_id(text):
    assert parse_client_scenario(text).id == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lm75/think/virtio", "there is no phase 'think': it is one of probe, use"),
        ("lm75", "there is no phase ''"),
        ("lm75/probe", "there is no controller ''"),
        ("lm57/probe/virtio", "there is no client 'lm57'"),
        ("", "there is no phase ''"),
    ],
)
def test_an_id_that_is_none_says_which_part_of_it(text, words):
    with pytest.raises(ScenarioError, match=words):
        parse_client_scenario(text)


def test_the_messages_of_a_driver_that_works_are_those_of_its_source():
    found = what("tmp102", "messages", "dmasafe:trusting")
    assert (found.outcome, found.why) == (Outcome.SAFE, "the messages are those of the driver's source")


def test_a_message_that_is_written_and_one_that_is_read_are_expected_as_such():
    """vmlinux's rodata can be sent and not received: elants_i2c sends its commands from there."""
    found = what("elants_i2c", "use", "dmasafe:bounce")
    assert isinstance(found, Expectation) and found.outcome is Outcome.SAFE
    read = expect(_as_scenario(Sent("rodata", 4, True, True), parse_place("dmasafe:bounce")), facts())
    assert read.outcome is Outcome.SILENT
    assert _as_scenario(Sent("heap", 9, False, False), parse_place("virtio")).id == "heap/master_send/virtio/9"
