# SPDX-License-Identifier: GPL-2.0-or-later
"""What suites have in common: SMBus calls, and the part of suite upstream that all of its controllers have."""

from collections.abc import Iterator

from dmasafe.vocabulary import (
    ABSENT_ADDRESS,
    BUFFER_KINDS,
    CORE_OPERATIONS,
    OPERATIONS,
    READ_ONLY_KINDS,
    RECORDER_ADDRESS,
    REGISTER_FILE_ADDRESS,
    SMBUS_BLOCK_ADDRESS,
    USER,
    Scenario,
    make_options,
)

#: Of an i2c-dev scenario: operation, payload in bytes, address, options.
I2cdevRow = tuple[str, int, int, dict[str, str]]
#: A call of each SMBus protocol that i2c_smbus_xfer_emulated() can do, with slaves that play along.
SMBUS: tuple[I2cdevRow, ...] = (
    ("i2cdev_smbus", 0, REGISTER_FILE_ADDRESS, {"protocol": "quick", "rd": "0"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte", "rd": "0", "command": "16"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte", "rd": "1"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "0", "command": "17"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "1", "command": "17"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "word_data", "rd": "0", "command": "18"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "word_data", "rd": "1", "command": "18"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "proc_call", "rd": "1", "command": "18"}),
    ("i2cdev_smbus", 8, REGISTER_FILE_ADDRESS, {"protocol": "i2c_block_data", "rd": "0", "command": "32"}),
    ("i2cdev_smbus", 8, REGISTER_FILE_ADDRESS, {"protocol": "i2c_block_data", "rd": "1", "command": "32"}),
    ("i2cdev_smbus", 32, REGISTER_FILE_ADDRESS, {"protocol": "i2c_block_data", "rd": "1", "command": "64"}),
    ("i2cdev_smbus", 8, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "16"}),
    ("i2cdev_smbus", 8, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "1", "command": "16"}),
    ("i2cdev_smbus", 32, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "17"}),
)  # fmt: skip
UPSTREAM = "upstream"
#: What comes after everything else of suite upstream.
UPSTREAM_LIMITS = "upstream-limits"

# Payload sizes for drivers that copy.
COPYING_LENGTHS = (8, 32)
_I2CDEV: tuple[I2cdevRow, ...] = (
    ("i2cdev_write", 32, RECORDER_ADDRESS, {}),
    ("i2cdev_read", 32, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", 32, RECORDER_ADDRESS, {"messages": "w1,r32"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "0", "command": "17"}),
    ("i2cdev_smbus", 1, REGISTER_FILE_ADDRESS, {"protocol": "byte_data", "rd": "1", "command": "17"}),
    ("i2cdev_smbus", 2, REGISTER_FILE_ADDRESS, {"protocol": "word_data", "rd": "1", "command": "18"}),
    ("i2cdev_write", 8, ABSENT_ADDRESS, {}),
)  # fmt: skip


def upstream(name: str, lengths: tuple[int, ...] = COPYING_LENGTHS, maps_reads: bool = False) -> Iterator[Scenario]:
    """Buffer kinds x i2c_transfer() and its callers x lengths, and what i2c-dev does, on the controller of this name.

    Drivers that write to msg->buf by the processor (not ``maps_reads``) die of memory that is read-only, with the
    adapter's lock held: that is left out.
    """
    for kind in BUFFER_KINDS:
        for operation, options in CORE_OPERATIONS:
            fatal = OPERATIONS[operation].reads and kind in READ_ONLY_KINDS and not maps_reads
            if operation != "get_put" and not fatal:
                yield from (Scenario(kind, operation, name, None, length, options=options) for length in lengths)
    for operation, length, address, words in _I2CDEV:
        yield Scenario(USER.name, operation, name, None, length, address, make_options(words))
