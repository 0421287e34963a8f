# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of client drivers, told a second time: what each sends in which kernel, and what its slave then holds."""

import struct

import pytest

from dmasafe.devices.slaves.pca9534 import Pca9534
from dmasafe.expect.client_drivers import CLIENT_DRIVERS, Phase, Sent

# A message is r(ead) or w(rite), its longest length, ! if it is marked, and where its buffer lies. Read from the
# drivers' sources; docs/clients.md names the functions.
LM75_SETUP = "w1:stack r1:stack w2:stack"
TMP102 = "w1:heap r2:heap w3:heap"
DS1307_TIME = "w1:heap r7:stack"
PCA = "w1:heap r1:heap w2:heap"
ELANTS_PROBE = "r1:stack w4:stack w6:stack r17:stack"
ELANTS_USE = "r169!:struct-embedded w4:rodata w6:stack r17:stack"
ST1232 = "w1:stack r20!:devm"
HID_PROBE = "r1:stack w16!:heap r30!:struct-embedded r64!:heap r64:heap"
AD5110 = "w2!:struct-embedded r1!:struct-embedded"
ADM_NUMBERS = "w1:stack r2:stack w2:stack"
ADM_USE = f"{ADM_NUMBERS} w1:stack r5!:heap w3!:struct-embedded r257!:struct-embedded"
# (client, version, probe, use, before it is used again after a suspend, before it probes again)
SENDS = [
    ("at24", (6, 12), "w1:heap r1:stack", "w9:heap w1:heap r128:heap", "", ""),
    ("at24", (7, 2), "w1:heap r1:stack", "w9:heap w1:heap r128:heap", "", ""),
    ("lm75", (6, 12), LM75_SETUP, "w1:heap r2:heap w3:heap", LM75_SETUP, "w2:stack"),
    ("lm75", (6, 99), LM75_SETUP, "w1:heap r2:heap w3:heap", LM75_SETUP, "w2:stack"),
    ("lm75", (7, 0), LM75_SETUP, "w1:stack r2:stack w3:stack", LM75_SETUP, "w2:stack"),
    ("lm75", (7, 2), LM75_SETUP, "w1:stack r2:stack w3:stack", LM75_SETUP, "w2:stack"),
    ("tmp102", (6, 12), TMP102, TMP102, TMP102, "w3:heap"),
    ("ds1307", (6, 12), f"w1:heap r8:stack {DS1307_TIME}", f"{DS1307_TIME} w8:heap w1:heap r56:heap", "", ""),
    ("elants_i2c", (6, 12), ELANTS_PROBE, ELANTS_USE, "w4:stack", ""),
    ("st1232", (6, 12), ST1232, ST1232, "", ""),
    ("i2c_hid_of", (6, 12), HID_PROBE, "r64:heap w16!:heap", "w16!:heap", "w16!:heap"),
    ("ad5110", (6, 12), AD5110, AD5110, "", ""),
    ("ad5446", (6, 99), "", "w2:stack", "", ""),
    ("ad5446", (7, 0), "", "w2!:struct-embedded", "", ""),
    ("adm1266", (6, 99), f"w8!:heap {ADM_NUMBERS}", ADM_USE, "", ""),
    ("adm1266", (7, 0), f"{ADM_NUMBERS} w8!:heap", ADM_USE, "", ""),
]


def told(sent):
    words = (f"{'r' if s.read else 'w'}{s.length}{'!' if s.marked else ''}:{s.buffer}" for s in sent)
    return " ".join(words)


def joined(*parts):
    return " ".join(part for part in parts if part)


@pytest.mark.parametrize(("name", "version", "probe", "use", "resume", "unbind"), SENDS)
def test_a_driver_sends_what_its_source_says(name, version, probe, use, resume, unbind):
    sends = {phase: told(sent) for phase, sent in CLIENT_DRIVERS[name].sends(version).items()}
    assert sends == {
        Phase.PROBE: probe,
        Phase.USE: use,
        Phase.SUSPEND: joined(resume, use),
        Phase.UNBIND: joined(unbind, probe),
        Phase.REMOVE: unbind,
        Phase.MESSAGES: joined(probe, use, resume, unbind),
    }


def test_a_driver_that_does_the_same_in_every_phase_sends_the_same():
    assert {told(sent) for sent in CLIENT_DRIVERS["pca953x"].sends((6, 12)).values()} == {PCA}
    assert list(CLIENT_DRIVERS["pca953x"].sends((6, 12))) == list(Phase)


def test_every_driver_is_told_a_second_time():
    assert {name for name, *_ in SENDS} | {"pca953x"} == set(CLIENT_DRIVERS)


def test_a_message_has_words():
    assert Sent("heap", 1, True, False).words == "unmarked read, heap"
    assert Sent("stack", 1, False, True).words == "marked write, stack"


def test_drivers_that_have_an_interrupt_say_so():
    assert {name for name, row in CLIENT_DRIVERS.items() if row.interrupt} == {"elants_i2c", "st1232", "i2c_hid_of"}
    assert [name for name, row in CLIENT_DRIVERS.items() if row.reads_blocks] == ["adm1266"]


# What a fresh slave holds after the change, if there is one, that a look makes to it.
HOLDS = {
    "at24": ["ff" * 256, "ff" * 256],
    # 0x1ae0 and 80 degrees, in 1/256 and in 1/128.
    "lm75": ["26875", "80000"],
    "tmp102": ["53750", "160000"],
    "ds1307": ["2024-02-29 23:58:59", bytes(range(0xA0, 0xD8)).hex(), "2024-02-29 23:58:59"],
    "pca953x": ["0 1 0 1 1 0 1 0", "out 0 1 in 1"],
    # The fingers have moved by 13, 7 and 1.
    "elants_i2c": ["Normal", "1234 56 78 9a bc 0bcd", "[[713, 1513], [327, 2007], [78, 34]]", "0x0003"],
    "st1232": ["23 01020304", "[[326, 901], [126, 1]]", "[[-1, -1]]"],
    "i2c_hid_of": ["0", "[(30, 1)]", "[(30, 0)]", "0", "0"],
    "ad5110": ["64", "42", "64", "42"],
    "ad5446": ["0", "0", "0"],
    "adm1266": [
        # 1024 + 57 * page, in 1/1024.
        " ".join(str(1000 + 57 * page * 1000 // 1024) for page in range(17)),
        bytes((*range(0x40), *range(7, 0x47))).hex(),
        "1",
    ],
}


@pytest.mark.parametrize("name", CLIENT_DRIVERS)
def test_a_look_finds_what_the_slave_holds(name):
    row = CLIENT_DRIVERS[name]
    slave = row.slave()
    held = []
    for look in (*row.probe, *row.use):
        if look.change is not None:
            look.change(slave)
        held.append(look.holds(slave))
    assert held == HOLDS[name]


def look_of(name, what):
    row = CLIENT_DRIVERS[name]
    return next(look for look in (*row.probe, *row.use) if look.what == what)


def test_a_pin_that_is_an_output_is_told_from_an_input():
    slave = Pca9534()
    # CONFIGURATION: a 1 is an input.
    slave.registers[3] = 0xF7
    driven = look_of("pca953x", "pin 3, driven").holds(slave)
    assert driven.startswith("out 0 1 out ")


def test_fingers_are_never_twice_at_the_same_place():
    touches = look_of("st1232", "touches")
    slave = CLIENT_DRIVERS["st1232"].slave()
    seen = []
    for _ in range(200):
        touches.change(slave)
        seen.append(touches.holds(slave))
        assert all(0 <= finger.x < 1024 and 0 <= finger.y < 600 for finger in slave.fingers)
    assert len(set(seen)) == len(seen)
    slave.touches = 138
    touches.change(slave)
    assert touches.holds(slave) == "[[1011, 14], [537, 138]]"
    slave.touches = 159
    touches.change(slave)
    assert touches.holds(slave) == "[[92, 35], [0, 159]]"
    slave.touches = 700
    touches.change(slave)
    assert touches.holds(slave) == "[[749, 576], [423, 100]]"


def test_a_key_is_pressed_and_released():
    slave = CLIENT_DRIVERS["i2c_hid_of"].slave()
    pressed, released = look_of("i2c_hid_of", "a key, pressed"), look_of("i2c_hid_of", "a key, released")
    assert pressed.holds(slave) == "[]"
    pressed.change(slave)
    assert released.holds(slave) == "[]" and slave.keys == (0x04,)
    released.change(slave)
    assert slave.keys == ()


def test_a_finger_that_is_there_is_not_lifted():
    assert look_of("st1232", "both fingers, lifted").holds(CLIENT_DRIVERS["st1232"].slave()) == "[[]]"


def packet(*events):
    """What the guest prints of a packet: struct input_event of 64 bits, one a line."""
    return "".join(struct.pack("<qqHHi", 7, 8, *event).hex() + "\n" for event in events)


def test_touches_are_heard_code_by_code_in_the_order_of_the_fingers():
    heard = look_of("elants_i2c", "touches").heard
    # ABS_MT_POSITION_X, _Y, _PRESSURE of two fingers; a key with the code of one of them, and SYN_REPORT.
    events = [(3, 0x35, 713), (3, 0x36, 327), (3, 0x3A, 78), (1, 0x35, 1), (3, 0x35, 1513), (3, 0x36, 2007), (0, 0, 0)]
    assert heard(packet(*events)) == "[[713, 1513], [327, 2007], [78]]"
    assert look_of("st1232", "both fingers, lifted").heard(packet((3, 0x39, -1), (3, 0x35, 5))) == "[[-1]]"


def test_keys_are_heard_without_their_repeats():
    heard = look_of("i2c_hid_of", "a key, pressed").heard
    # MSC_SCAN, KEY_A pressed and repeated, SYN_REPORT.
    assert heard(packet((4, 4, 0x70004), (1, 30, 1), (1, 30, 2), (0, 0, 0))) == "[(30, 1)]"
    assert heard(packet((1, 30, 0))) == "[(30, 0)]"


@pytest.mark.parametrize("output", ["", "cat: no such file", "0102", packet((1, 30, 1))[:-3]])
def test_what_is_no_packet_has_no_events(output):
    assert look_of("i2c_hid_of", "a key, pressed").heard(output) == "[]"
    assert look_of("elants_i2c", "touches").heard(output) == "[[], [], []]"


def test_words_are_heard_whatever_lies_between_them():
    assert look_of("ds1307", "date and time").heard("2024-02-29\n 23:58:59\n") == "2024-02-29 23:58:59"
    assert look_of("at24", "eeprom").heard(" ff\n") == "ff"


@pytest.mark.parametrize(("what", "value"), [("a light, switched on", 1), ("the light, off", 0)])
def test_a_light_is_switched_by_an_event_that_the_kernel_reads(what, value):
    command = look_of("i2c_hid_of", what).command
    octal = command.split("'")[1]
    raw = bytes(int(byte, 8) for byte in octal.split("\\")[1:])
    # EV_LED, LED_CAPSL.
    assert struct.unpack("<16xHHi", raw) == (0x11, 1, value)
