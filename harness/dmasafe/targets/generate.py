# SPDX-License-Identifier: GPL-2.0-or-later
"""Random scenarios: everything that the guest's client and agent can do, drawn from a seeded random.Random.

Rare things are weighted up and slow ones down; what a real kernel leaves to chance is left out. The tests' hypothesis
strategy hands in its own Random, so that it shrinks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeVar

from dmasafe.carriers import CONTROLLERS
from dmasafe.scenario import SMBUS_PROTOCOLS, places
from dmasafe.vocabulary import (
    ABSENT_ADDRESS,
    BUFFER_KINDS,
    I2CDEV_MAX_BYTES,
    I2CDEV_MAX_MESSAGES,
    NAK_DATA_ADDRESS,
    OPERATIONS,
    READ_ONLY_KINDS,
    RECORDER_ADDRESS,
    REGISTER_FILE_ADDRESS,
    SMBUS_BLOCK_ADDRESS,
    STEPS,
    USER,
    Scenario,
)

_T = TypeVar("_T")
Weighted = dict[_T, int]

# Of dmasafe/devices' default bus.
EEPROM_ADDRESSES = (0x50, 0x51)
SLOW_ADDRESS = 0x68
# Nobody is there: reserved addresses, the last one, and one between slaves.
_ABSENT_ADDRESSES = (ABSENT_ADDRESS, 0x00, 0x03, 0x21, 0x7F)
# What is written from memory whose contents are the guest's own must not decide what a slave does next.
_INDIFFERENT_ADDRESSES = frozenset({RECORDER_ADDRESS, NAK_DATA_ADDRESS, *_ABSENT_ADDRESSES})
# The longest buffer of a kind; longer ones are refused by client and model alike.
_LONGEST = {"stack": 256, "module-rodata": 256, "data": 272, "kmap": 3000}
# docs/agent-protocol.md: then= repeats what the buffer held.
_LONGEST_OF_SEVERAL = 512

_ADDRESSES: Weighted[int] = {
    RECORDER_ADDRESS: 50,
    REGISTER_FILE_ADDRESS: 10,
    SMBUS_BLOCK_ADDRESS: 10,
    EEPROM_ADDRESSES[0]: 5,
    EEPROM_ADDRESSES[1]: 5,
    NAK_DATA_ADDRESS: 8,
    ABSENT_ADDRESS: 8,
    SLOW_ADDRESS: 1,
}
# Not the recorder, whose first byte, taken for a count, differs from read to read.
_SMBUS_ADDRESSES: Weighted[int] = _ADDRESSES | {SMBUS_BLOCK_ADDRESS: 60, RECORDER_ADDRESS: 0}
_OPERATIONS: Weighted[str] = {op.name: op.weight for op in OPERATIONS.values() if op.weight}
# Copying into read-only memory costs a worker's life, an adapter's rebinding and a tenth of a second.
_KINDS: Weighted[str] = {kind: 1 if kind in READ_ONLY_KINDS else 3 for kind in BUFFER_KINDS}
_EDGES = (0, 1, 2, 3, 4, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512)
_LIMITS = (4095, 4096, 4097, I2CDEV_MAX_BYTES - 1, I2CDEV_MAX_BYTES)
_PLACES = tuple(places())


def scenario(random: Random) -> Scenario:
    """One scenario."""
    operation = _weighted(random, _OPERATIONS)
    controller, policy = random.choice(_PLACES)
    if OPERATIONS[operation].from_user_space:
        buffer = USER.name
        length, address, options = _I2CDEV[operation](random)
    else:
        buffer = _weighted(random, _KINDS)
        length, address, options = _client(random, operation, buffer)
    if policy is not None and operation != "get_put" and random.random() < 0.4:
        options["threshold"] = str(_threshold(random, length))
    return Scenario(buffer, operation, controller, policy, length, address, tuple(sorted(options.items())))


def scenarios(count: int, seed: int, possible: Callable[[Scenario], bool] = lambda _: True) -> list[Scenario]:
    """``count`` different scenarios that are ``possible``, the same for the same seed."""
    random = Random(seed)
    found: dict[str, Scenario] = {}
    while len(found) < count:
        drawn = scenario(random)
        if possible(drawn):
            found.setdefault(drawn.id, drawn)
    return list(found.values())


def _weighted(random: Random, rows: Weighted[_T]) -> _T:
    return random.choices(tuple(rows), tuple(rows.values()))[0]


def _length(random: Random, longest: int = I2CDEV_MAX_BYTES) -> int:
    lot = random.random()
    if lot < 0.5:
        length = random.randint(0, 64)
    elif lot < 0.75:
        length = random.randint(65, 512)
    elif lot < 0.99:
        length = random.choice(_EDGES)
    else:
        length = random.choice(_LIMITS)
    return min(length, longest)


def _threshold(random: Random, length: int) -> int:
    return random.choice((0, 1, 2, 8, 64, max(0, length - 1), length, length + 1, random.randint(0, 600)))


def _address(random: Random, rows: Weighted[int]) -> int:
    address = _weighted(random, rows)
    return random.choice(_ABSENT_ADDRESSES) if address == ABSENT_ADDRESS else address


def _client(random: Random, operation: str, buffer: str) -> tuple[int, int, dict[str, str]]:
    options: dict[str, str] = {}
    address = RECORDER_ADDRESS if operation == "get_put" else _address(random, _ADDRESSES)
    # One in fifty is longer than its kind may be: to be refused.
    longest = _LONGEST.get(buffer, I2CDEV_MAX_BYTES) if random.random() < 0.98 else I2CDEV_MAX_BYTES
    length = _length(random, longest)
    if operation in ("transfer", "get_put"):
        options["dma_safe"] = random.choice("01")
    if operation == "get_put":
        options["rd"] = random.choice("01")
        if random.random() < 0.4:
            options["threshold"] = str(_threshold(random, length))
    elif random.random() < 0.25:
        options["then"] = "".join(random.choices(tuple(STEPS), k=random.randint(1, 3)))
        length = min(length, _LONGEST_OF_SEVERAL)
    if buffer in READ_ONLY_KINDS and address not in _INDIFFERENT_ADDRESSES:
        address = RECORDER_ADDRESS
    writes = operation.startswith("master_send") or set(options.get("then", "")) & set("sS")
    if address == SLOW_ADDRESS and writes:
        # More than the pointer would set how slow it is from then on.
        length = min(length, 1)
    return length, address, options


def _read(random: Random) -> tuple[int, int, dict[str, str]]:
    length = _length(random) if random.random() < 0.99 else random.choice((I2CDEV_MAX_BYTES + 1, 65535))
    return length, _address(random, _ADDRESSES), {}


def _write(random: Random) -> tuple[int, int, dict[str, str]]:
    length, address, options = _read(random)
    return min(length, 1) if address == SLOW_ADDRESS else length, address, options


def _rdwr(random: Random) -> tuple[int, int, dict[str, str]]:
    lot = random.random()
    if lot < 0.75:
        count = random.randint(1, 4)
    elif lot < 0.95:
        count = random.randint(5, 12)
    else:
        count = random.randint(13, I2CDEV_MAX_MESSAGES + 1)
    address = _address(random, _ADDRESSES)
    words = []
    longest = 0
    for _ in range(count):
        way = random.choice("rw")
        length = _length(random) if count <= 4 else random.randint(0, 40)
        if random.random() < 0.005:
            length = I2CDEV_MAX_BYTES + 1
        if address == SLOW_ADDRESS and way == "w":
            length = min(length, 1)
        longest = max(longest, length)
        words.append(f"{way}{length}")
    if neighbours(words):
        words = [word if word[0] == "w" else f"r{int(word[1:]) + 64}" for word in words]
        longest = max(int(word[1:]) for word in words)
    # More than one of the longest would not fit into the agent's line.
    if sum(int(word[1:]) for word in words) > I2CDEV_MAX_BYTES + 1:
        words = words[:1]
        longest = int(words[0][1:])
    return longest, address, {"messages": ",".join(words)}


def neighbours(words: Sequence[str]) -> bool:
    """Whether two reads are kmalloc'ed from the same slab, of objects shorter than a cache line.

    A driver that maps them at once, as i2c-virtio does, may put two mappings into one line: that is for the slab's
    history to decide, and differs from boot to boot.
    """
    slabs = [(length - 1).bit_length() for word in words if word[0] == "r" and 0 < (length := int(word[1:])) <= 32]
    return len({max(3, slab) for slab in slabs}) < len(slabs)


# Bytes of data of the protocols that have a fixed number of them.
_SMBUS_BYTES = {"quick": 0, "byte": 1, "byte_data": 1, "word_data": 2, "proc_call": 2}
# Commands that dmasafe/devices' SMBus slave takes for blocks, bytes, words and blocks without a count.
_SMBUS_COMMANDS = {
    "byte_data": (0x40, 0x7F),
    "word_data": (0x80, 0xBF),
    "proc_call": (0x80, 0xBF),
    "block_data": (0x00, 0x3F),
    "block_proc_call": (0x00, 0x3F),
    "i2c_block_data": (0xC0, 0xFF),
}


def _smbus(random: Random) -> tuple[int, int, dict[str, str]]:
    protocol = random.choice(SMBUS_PROTOCOLS)
    address = _address(random, _SMBUS_ADDRESSES)
    first, last = _SMBUS_COMMANDS.get(protocol, (0, 255)) if random.random() < 0.7 else (0, 255)
    options = {"protocol": protocol, "rd": random.choice("01"), "command": str(random.randint(first, last))}
    length = _SMBUS_BYTES.get(protocol)
    if length is None:
        length = random.choice((0, 1, 2, 8, 31, 32, 33, random.randint(1, 32)))
    if random.random() < 0.3:
        options["pec"] = "1"
    if address == SLOW_ADDRESS:
        options |= {"rd": "1", "command": str(random.randint(2, 200))}
        options.pop("pec", None)
        if protocol not in ("quick", "byte", "byte_data", "word_data", "i2c_block_data"):
            options["protocol"] = "byte_data"
            length = 1
    return length, address, options


_I2CDEV: dict[str, Callable[[Random], tuple[int, int, dict[str, str]]]] = {
    "i2cdev_read": _read,
    "i2cdev_write": _write,
    "i2cdev_rdwr": _rdwr,
    "i2cdev_smbus": _smbus,
}


# Simpler neighbours, for shrinking.


def simpler(original: Scenario) -> Iterator[Scenario]:
    """Scenarios that are a step simpler, the boldest first."""
    options = dict(original.options)
    needed = {"messages", "protocol", "rd", "command", "dma_safe"}

    def changed(
        buffer: str = original.buffer,
        place: tuple[str, str | None] = (original.controller, original.policy),
        length: int = original.length,
        address: int = original.address,
        options: dict[str, str] = options,
    ) -> Scenario:
        controller, policy = place
        if not CONTROLLERS[controller].policies and original.operation != "get_put":
            options = {name: value for name, value in options.items() if name != "threshold"}
        return Scenario(buffer, original.operation, controller, policy, length, address, tuple(sorted(options.items())))

    for name in options.keys() - needed:
        yield changed(options={key: value for key, value in options.items() if key != name})
    if original.operation == "i2cdev_rdwr":
        for words in _shorter_messages(options["messages"].split(",")):
            longest = max(int(word[1:]) for word in words)
            yield changed(length=longest, options=options | {"messages": ",".join(words)})
    elif original.option("protocol") not in _SMBUS_BYTES:
        lengths = sorted({n for n in (0, 1, 8, original.length // 2, original.length - 1) if 0 <= n < original.length})
        for length in lengths:
            yield changed(length=length)
    then = options.get("then", "")
    for at in range(len(then) if len(then) > 1 else 0):
        yield changed(options=options | {"then": then[:at] + then[at + 1 :]})
    if original.address != RECORDER_ADDRESS and original.operation != "i2cdev_smbus":
        yield changed(address=RECORDER_ADDRESS)
    if original.buffer not in (USER.name, "heap"):
        yield changed(buffer="heap")
    if original.policy not in (None, "bounce"):
        yield changed(place=("dmasafe", "bounce"))
    if int(options.get("threshold", "0")) > 1:
        yield changed(options=options | {"threshold": "1"})
    if int(options.get("command", "0")):
        yield changed(options=options | {"command": "0"})


def _shorter_messages(words: Sequence[str]) -> Iterator[list[str]]:
    for at in range(len(words) if len(words) > 1 else 0):
        yield [*words[:at], *words[at + 1 :]]
    for at, word in enumerate(words):
        length = int(word[1:])
        for shorter in sorted({n for n in (0, 1, length // 2, length - 1) if 0 <= n < length}):
            yield [*words[:at], f"{word[0]}{shorter}", *words[at + 1 :]]


__all__ = ["neighbours", "scenario", "scenarios", "simpler"]
