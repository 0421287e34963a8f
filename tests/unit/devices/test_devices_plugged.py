# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves of a test's own in the real device process, and their way there and back."""

from __future__ import annotations

import json
import sys
from collections import deque
from functools import partial
from pathlib import Path

import pytest
from devices_frontend import Frontend, I2cDriver
from test_devices_process import devices, driver, events, frontend, ram, round_trip  # noqa: F401  (fixtures)

from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.errors import SlaveError
from dmasafe.devices.slaves.eeprom import Eeprom
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.devices.slaves.register_file import RegisterFile
from dmasafe.devices.slaves.slow import SlowSlave
from dmasafe.devices.values import decode, describe, encode, find, make, update

CHIPS = """
class Constant:
    def __init__(self, value, *, times=1):
        self.value, self.times, self.seen = value, times, []

    def write(self, data):
        self.seen.append(bytes(data))
        return len(data)

    def read(self, length):
        return bytes([self.value * self.times]) * length


class Broken(Constant):
    def read(self, length):
        raise RuntimeError("out of order")

    def write(self, data):
        return "three"


class Rude:
    def __init__(self):
        raise SystemError("no")


class Half:
    def write(self, data):
        return len(data)
"""
OK, REFUSED = b"\x00", b"\x01"


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    """A directory with a module of slaves that this process cannot import."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    (directory / "chips_of_a_test.py").write_text(CHIPS)
    return directory


def test_a_slave_is_found_by_import_path_arguments_and_search_path(
    devices: DeviceProcess,  # noqa: F811
    frontend: Frontend,  # noqa: F811
    driver: I2cDriver,  # noqa: F811
    chips: Path,
) -> None:
    assert "chips_of_a_test" not in sys.modules
    with pytest.raises(SlaveError, match="chips_of_a_test"):
        devices.plug({0x48: "chips_of_a_test:Constant"})
    sys.path.append(str(chips))
    try:
        constant = find("chips_of_a_test:Constant")
        devices.plug({0x48: partial(constant, 7, times=3)}, [str(chips)])
    finally:
        sys.path.remove(str(chips))
        del sys.modules["chips_of_a_test"]
    assert round_trip(frontend, driver, 4, address=0x48) == (b"\x15" * 4, OK)
    assert round_trip(frontend, driver, b"x", address=0x30)[1] == REFUSED, "the default slaves are gone"
    devices.plug(None)
    assert round_trip(frontend, driver, b"x", address=0x30)[1] == OK
    assert round_trip(frontend, driver, b"x", address=0x48)[1] == REFUSED


def test_an_object_goes_there_with_its_state_and_is_brought_up_to_date(
    devices: DeviceProcess,  # noqa: F811
    frontend: Frontend,  # noqa: F811
    driver: I2cDriver,  # noqa: F811
) -> None:
    eeprom, recorder, slow = Eeprom.c02(), Recorder(), SlowSlave(0)
    eeprom.memory[3] = 0x5A
    devices.plug({0x50: eeprom, 0x51: recorder, 0x52: slow})
    assert round_trip(frontend, driver, b"\x03", address=0x50)[1] == OK
    assert round_trip(frontend, driver, 1, address=0x50) == (b"\x5a", OK)
    assert round_trip(frontend, driver, b"\x08\xaa", address=0x50)[1] == OK
    assert round_trip(frontend, driver, b"hello", address=0x51)[1] == OK
    assert round_trip(frontend, driver, b"\x00\x02\x00", address=0x52)[1] == OK
    devices.sync()
    assert eeprom.memory[8] == 0xFF
    devices.update_slaves()
    assert eeprom.memory[8] == 0xAA
    assert [message.data for message in recorder.messages] == [b"hello"]
    assert slow.stretch_ms == 2


def test_a_slave_that_raises_or_answers_nonsense_costs_its_message_only(
    devices: DeviceProcess,  # noqa: F811
    frontend: Frontend,  # noqa: F811
    driver: I2cDriver,  # noqa: F811
    chips: Path,
) -> None:
    sys.path.append(str(chips))
    try:
        devices.plug({0x48: partial(find("chips_of_a_test:Broken"), 1), 0x20: RegisterFile}, [str(chips)])
    finally:
        sys.path.remove(str(chips))
        del sys.modules["chips_of_a_test"]
    assert round_trip(frontend, driver, 4, address=0x48)[1] == REFUSED
    assert round_trip(frontend, driver, b"abc", address=0x48)[1] == REFUSED
    assert round_trip(frontend, driver, b"\x05", address=0x20)[1] == OK
    devices.sync()
    line = next(number for number, text in enumerate(CHIPS.splitlines(), 1) if "out of order" in text)
    assert [event["why"] for event in events(devices, "slave")] == [
        f"the slave at 0x48: read() raised RuntimeError: out of order at {chips / 'chips_of_a_test.py'}:{line}",
        "the slave at 0x48: write() gave 'three', not the number of bytes it acknowledged",
    ]


@pytest.mark.parametrize(
    ("address", "slave", "why"),
    [
        (0x80, RegisterFile, "no 7-bit address"),
        (-1, RegisterFile, "no 7-bit address"),
        (0x48, "os:system; rm", "no import path"),
        (0x48, "no_such_module:Chip", "No module named 'no_such_module'"),
        (0x48, "chips_of_a_test:Rude", "cannot be made: SystemError: no"),
        (0x48, "chips_of_a_test:Half", "has no read"),
        (0x48, "builtins:dict", "has no write and no read"),
        (0x48, partial(Eeprom, 4096), "missing 2 required positional arguments"),
    ],
)
def test_what_is_no_slave_is_refused_and_the_bus_stays_as_it_was(
    devices: DeviceProcess,  # noqa: F811
    frontend: Frontend,  # noqa: F811
    driver: I2cDriver,  # noqa: F811
    chips: Path,
    address: int,
    slave: object,
    why: str,
) -> None:
    with pytest.raises(SlaveError, match=why):
        devices.plug({address: slave}, [str(chips)])
    assert round_trip(frontend, driver, b"x", address=0x30)[1] == OK
    assert devices.alive


def test_what_cannot_travel_is_refused_before_it_is_sent(devices: DeviceProcess) -> None:  # noqa: F811
    class Local(RegisterFile):
        pass

    with pytest.raises(SlaveError, match="not inside a function"):
        devices.plug({0x48: Local})
    holder = RegisterFile()
    holder.lock = open  # type: ignore[attr-defined]
    with pytest.raises(SlaveError, match="neither plain data nor an object"):
        devices.plug({0x48: holder})
    with pytest.raises(SlaveError, match="give their classes instead"):
        devices.plug({0x48: Eeprom(1 << 20, 32, 2)})
    devices.sync()


@pytest.mark.parametrize(
    "question", [{"slaves": 5}, {"slaves": [[1]]}, {"slaves": [], "path": "x"}, {"slaves": [[1, 2]]}]
)
def test_a_question_that_makes_no_sense_is_answered_with_what_is_wrong(
    devices: DeviceProcess,  # noqa: F811
    question: dict[str, object],
) -> None:
    assert devices._answered("plug", 5.0, **{"path": [], **question})["why"]
    devices.sync()


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -5, 1.5, "text", b"\x00\xff", bytearray(b"ab"), [1, [2]], (1, b"x"), {1: {"a": b""}}, {3},
        frozenset({"a"}), deque([1, 2]), {(1, 2): None},
    ],
)  # fmt: skip
def test_values_come_back_as_they_went(value: object) -> None:
    there = decode(json.loads(json.dumps(encode(value))), find)
    assert there == value
    assert type(there) is type(value)


def test_the_way_back_imports_nothing_and_makes_no_other_object() -> None:
    there = json.loads(json.dumps(describe(RegisterFile())))
    for path in ("json.tool:main", "no_such_module:Chip"):
        before = set(sys.modules)
        with pytest.raises(SlaveError):
            update(RegisterFile(), {**there, "state": {"registers": {"object": path, "state": {}}}})
        assert set(sys.modules) == before
    with pytest.raises(SlaveError, match="another object"):
        update(Recorder(), there)


def test_describing_and_making_keep_what_an_object_holds() -> None:
    slow = make(json.loads(json.dumps(describe(SlowSlave(250)))))
    assert isinstance(slow, SlowSlave)
    assert slow.stretch_ms == 250
