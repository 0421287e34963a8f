# SPDX-License-Identifier: GPL-2.0-or-later
"""What upstream's drivers refuse and how they cut messages up, and which scenarios their controllers bring."""

from dataclasses import dataclass

import pytest

from dmasafe.carriers import CONTROLLERS
from dmasafe.carriers.suites import COPYING_LENGTHS, upstream
from dmasafe.quirks import I2C_M_RD
from dmasafe.scenario import suite
from dmasafe.vocabulary import BUFFER_KINDS, CORE_OPERATIONS, OPERATIONS, READ_ONLY_KINDS

R, W = I2C_M_RD, 0
PAIR = "the driver does one message, or a write and a read of the same slave"
REPORTS = "the message does not fit into the chip's reports"


@dataclass
class Message:
    flags: int
    len: int
    addr: int = 0x30


def refusal(name, *messages):
    return CONTROLLERS[name].model.refuses([Message(*message) for message in messages])


@pytest.mark.parametrize(
    ("name", "messages", "why"),
    [
        ("mcp2221", [(R, 8)], ""),
        ("mcp2221", [(W, 8)], ""),
        ("mcp2221", [(W, 1), (R, 8)], ""),
        ("mcp2221", [(W, 1), (R, 8, 0x31)], PAIR),
        ("mcp2221", [(R, 1), (R, 8)], PAIR),
        ("mcp2221", [(W, 1), (W, 8)], PAIR),
        ("mcp2221", [(R, 1), (W, 8)], PAIR),
        ("mcp2221", [(W, 1), (R, 8), (R, 8)], PAIR),
        ("mcp2221", [(W, 1)] * 3, PAIR),
        # cp2112_i2c_write_req(): 61 bytes; cp2112_i2c_write_read_req(): 16; reads: 512.
        ("cp2112", [(W, 61)], ""),
        ("cp2112", [(W, 62)], REPORTS),
        ("cp2112", [(R, 512)], ""),
        ("cp2112", [(R, 513)], REPORTS),
        ("cp2112", [(W, 16), (R, 512)], ""),
        ("cp2112", [(W, 17), (R, 512)], REPORTS),
        ("cp2112", [(W, 16), (R, 513)], REPORTS),
        ("cp2112", [(W, 1), (W, 1)], PAIR),
        # ft260_i2c_write(): no write without bytes; a read may have none.
        ("ft260", [(W, 1)], ""),
        ("ft260", [(W, 0)], "the driver writes one byte at least"),
        ("ft260", [(R, 0)], ""),
        ("ft260", [(W, 1), (W, 0)], "the driver writes one byte at least"),
        ("tiny-usb", [(W, 0), (W, 0), (R, 0)], ""),
    ],
)
def test_what_a_driver_refuses(name, messages, why):
    assert refusal(name, *messages) == why


@pytest.mark.parametrize(
    ("length", "pieces"),
    [
        (0, []),
        (1, [(0, 1)]),
        (503, [(0, 503)]),
        # The first full piece is copied from where the second one is; the last from where the one before it was.
        (504, [(503, 503), (503, 1)]),
        (1006, [(503, 503), (503, 503)]),
        (1007, [(503, 503), (1006, 503), (1006, 1)]),
    ],
)
def test_viperboard_copies_each_full_piece_from_one_further_on(length, pieces):
    assert list(CONTROLLERS["viperboard"].model.pieces(length)) == pieces


def test_the_others_send_a_message_as_it_is():
    assert CONTROLLERS["osif"].model.pieces(600) == ((0, 600),)


@pytest.mark.parametrize("maps_reads", [False, True])
def test_a_driver_that_copies_is_not_asked_to_write_into_memory_that_is_read_only(maps_reads):
    made = [s for s in upstream("osif", (1, 9), maps_reads) if not OPERATIONS[s.operation].from_user_space]
    found = {(s.buffer, s.operation, s.options, s.length) for s in made}
    assert len(found) == len(made)
    assert found == {
        (kind, operation, options, length)
        for kind in BUFFER_KINDS
        for operation, options in CORE_OPERATIONS
        for length in (1, 9)
        if operation != "get_put" and (maps_reads or not (OPERATIONS[operation].reads and kind in READ_ONLY_KINDS))
    }


def test_only_a_controller_that_maps_reads_has_them_into_read_only_memory():
    into = {s.controller for s in suite("upstream") if s.buffer in READ_ONLY_KINDS and OPERATIONS[s.operation].reads}
    assert into == {"osif", "osif-ehci"}
    assert not any(OPERATIONS[s.operation].reads and s.buffer in READ_ONLY_KINDS for s in suite("buses"))
    assert any(s.buffer in READ_ONLY_KINDS for s in suite("buses"))


def test_lengths_are_those_that_tell_a_driver_apart():
    def lengths(name):
        return sorted({s.length for s in suite("upstream") if s.controller == name and s.operation == "master_send"})

    assert lengths("tiny-usb") == sorted(COPYING_LENGTHS) and lengths("virtio") == [1, 8, 32]
    # Behind xHCI 8 bytes go out without DMA; viperboard's USB messages have 503.
    assert lengths("osif") == lengths("osif-ehci") == [1, 8, 9, 32, 256]
    assert lengths("viperboard") == [*sorted(COPYING_LENGTHS), 503, 504]
