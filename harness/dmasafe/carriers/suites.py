# SPDX-License-Identifier: GPL-2.0-or-later
"""The part in suite upstream that controllers of upstream's have in common."""

from collections.abc import Iterator

from dmasafe.vocabulary import (
    ABSENT_ADDRESS,
    BUFFER_KINDS,
    CORE_OPERATIONS,
    OPERATIONS,
    READ_ONLY_KINDS,
    RECORDER_ADDRESS,
    REGISTER_FILE_ADDRESS,
    USER,
    Scenario,
    make_options,
)

UPSTREAM = "upstream"
#: What comes after everything else of suite upstream.
UPSTREAM_LIMITS = "upstream-limits"

# Payload sizes for drivers that copy.
COPYING_LENGTHS = (8, 32)
_I2CDEV: tuple[tuple[str, int, int, dict[str, str]], ...] = (
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
