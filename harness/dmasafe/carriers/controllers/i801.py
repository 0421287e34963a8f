# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-i801 of q35's southbridge: it copies each byte through the controller's registers, and has no I2C_FUNC_I2C."""

from collections.abc import Iterator

from dmasafe.carriers.on_board import on_board
from dmasafe.carriers.suites import UPSTREAM
from dmasafe.vocabulary import BUFFER_KINDS, USER, Scenario, make_options

NAME = "i801"
# QEMU's own, on which SMBus calls work and nothing else.
EEPROM_ADDRESS = 0x50
_I2CDEV: tuple[tuple[str, int, dict[str, str]], ...] = (
    ("i2cdev_read", 8, {}),
    ("i2cdev_write", 8, {}),
    ("i2cdev_smbus", 1, {"protocol": "byte", "rd": "1"}),
    ("i2cdev_smbus", 1, {"protocol": "byte_data", "rd": "0", "command": "16"}),
    ("i2cdev_smbus", 1, {"protocol": "byte_data", "rd": "1", "command": "16"}),
    ("i2cdev_smbus", 2, {"protocol": "word_data", "rd": "1", "command": "16"}),
)  # fmt: skip


def _upstream() -> Iterator[Scenario]:
    for kind in BUFFER_KINDS:
        yield Scenario(kind, "master_send", NAME, None, 8, EEPROM_ADDRESS)
    for operation, length, options in _I2CDEV:
        yield Scenario(USER.name, operation, NAME, None, length, EEPROM_ADDRESS, make_options(options))


CONTROLLERS = (
    on_board(
        NAME,
        "upstream i2c-i801 of q35's southbridge: programmed input and output, SMBus calls only",
        machine="smbus",
        function="0000:00:1f.3",
        driver="i801_smbus",
        needs="I2C_I801",
        scenarios={UPSTREAM: _upstream},
    ),
)
