# SPDX-License-Identifier: GPL-2.0-or-later
"""An I2C bus that a board came with and the user named; nothing is known of the devices on it."""

from __future__ import annotations

from collections.abc import Sequence

from dmasafe.carriers.controller import Controller, Predict, Record, Where
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.vocabulary import USER, Scenario, make_options

# Where nothing is named: most boards have their EEPROM there.
BOARD_ADDRESS = 0x50

# Nothing but reads, and those with a register number start at 0: a device that nobody knows must not be written to.
_ROWS: tuple[tuple[str, int, dict[str, str]], ...] = (
    *(("i2cdev_read", n, {}) for n in (1, 8, 32)),
    *(("i2cdev_rdwr", n, {"messages": f"r{n}"}) for n in (1, 8, 32)),
    ("i2cdev_rdwr", 8, {"messages": "r8,r8"}),
    ("i2cdev_smbus", 1, {"protocol": "byte", "rd": "1"}),
    ("i2cdev_smbus", 1, {"protocol": "byte_data", "rd": "1", "command": "0"}),
    ("i2cdev_smbus", 2, {"protocol": "word_data", "rd": "1", "command": "0"}),
    ("i2cdev_smbus", 8, {"protocol": "i2c_block_data", "rd": "1", "command": "0"}),
    ("i2cdev_smbus", 32, {"protocol": "i2c_block_data", "rd": "1", "command": "0"}),
)  # fmt: skip


def board_suite(addresses: Sequence[int] = (BOARD_ADDRESS,)) -> list[Scenario]:
    """Reads through i2c-dev from devices on a board's own bus."""
    return [
        Scenario(USER.name, operation, BOARD.name, None, length, address, make_options(options))
        for address in addresses
        for operation, length, options in _ROWS
    ]


def _expects(_scenario: Scenario, kernel: KernelFacts, _predict: Predict) -> Expectation | Skip:
    """A device that answers, and an adapter's driver that does nothing wrong."""
    absent = USER.missing(kernel.has)
    if absent is not None:
        return Skip(absent)
    return Expectation(Outcome.SAFE, "the device at the named address answers, and nothing is reported")


BOARD = Controller(
    "board",
    "a bus of the board's own, named by the user",
    fronts=frozenset({"i2cdev"}),
    refusal="a bus of the board's own takes i2cdev_* operations only",
    places=frozenset({Where.BOARD}),
    elsewhere="only a board has a bus of its own: --target ssh:..., serial:... or local",
    expects=_expects,
    # A bus of a guest that plays a board may have one.
    record=Record.DEVICE_IF_ANY,
    own_bus=True,
)
