# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do: scenarios by their ids, and the suites, which are named lists of scenarios.

A scenario is one thing to do, with a stable id that is also how a person names it on the command line. The words of an
id are in dmasafe/vocabulary.py, the controllers in dmasafe/carriers.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from dmasafe.carriers import BOARD, CONTROLLERS, POLICIES, controller_names, controller_of
from dmasafe.carriers.board import BOARD_ADDRESS, board_suite
from dmasafe.carriers.hosts import HOSTS, LEAVING
from dmasafe.carriers.suites import SMBUS, UPSTREAM, UPSTREAM_LIMITS, I2cdevRow
from dmasafe.devices.hosts.faults import FAULTS as HARDWARE_FAULTS
from dmasafe.errors import DmasafeError, unknown
from dmasafe.faults import FAULTS
from dmasafe.vocabulary import (
    ABSENT_ADDRESS,
    BUFFER_KINDS,
    CORE_OPERATIONS,
    I2CDEV_MAX_BYTES,
    I2CDEV_MAX_MESSAGES,
    MEANWHILE,
    NAK_DATA_ADDRESS,
    OPERATIONS,
    RECORDER_ADDRESS,
    REGISTER_FILE_ADDRESS,
    SMBUS_BLOCK_ADDRESS,
    STEPS,
    UNBOUND,
    USER,
    Scenario,
    make_options,
)


class ScenarioError(DmasafeError):
    """A scenario, suite or option that does not exist."""


def parse_scenario(text: str) -> Scenario:
    """The scenario of an id, as :attr:`Scenario.id` writes it.

    Raises ScenarioError with one sentence that names the part that is wrong and what it could be.
    """
    head, *option_texts = text.split("+")
    parts = head.split("/")
    if text in SUITES:
        raise ScenarioError(f"'{text}' is a suite, no scenario: write --suite {text}")
    if len(parts) != 4:
        raise ScenarioError(
            f"'{text}' is no scenario: write BUFFER/OPERATION/CONTROLLER[:POLICY]/LENGTH, "
            "such as stack/master_send_dmasafe/dmasafe:bounce/8 (see 'dmasafe list')"
        )
    buffer, operation, place, size = parts
    controller, _, policy = place.partition(":")
    length, _, address = size.partition("@")
    _one_of("buffer kind", buffer, [*BUFFER_KINDS, USER.name])
    _one_of("operation", operation, list(OPERATIONS))
    _one_of("controller", controller, controller_names())
    row = controller_of(controller)
    if row.policies:
        _one_of(f"policy of controller {controller}", policy, list(row.policies))
    elif policy:
        raise ScenarioError(f"controller {controller} has no policies, but '{text}' names one")
    if OPERATIONS[operation].from_user_space != (buffer == USER.name):
        raise ScenarioError(f"in '{text}' the buffer does not fit: i2cdev_* operations, and only they, use 'user'")
    if OPERATIONS[operation].front not in row.fronts:
        raise ScenarioError(f"in '{text}' {row.refusal.format(name=controller, operation=operation)}")
    try:
        count = int(length)
        where = int(address, 16) if address else RECORDER_ADDRESS
    except ValueError:
        raise ScenarioError(f"in '{text}' the last part must be LENGTH or LENGTH@HEXADDRESS") from None
    if not 0 <= count <= 65535 or not 0 <= where <= 0x3FF:
        raise ScenarioError(f"in '{text}' the length must be 0 to 65535 and the address 0 to 3ff")
    if row.calls:
        _one_of(f"call on {controller}", operation, list(row.calls))
        most = row.calls[operation]
        if not 1 <= count <= most:
            raise ScenarioError(f"in '{text}' the length must be {'1' if most == 1 else f'1 to {most}'}")
    options = []
    for option in option_texts:
        name, separator, value = option.partition("=")
        if name not in OPTIONS or not separator or not OPTIONS[name](value):
            raise ScenarioError(f"in '{text}' the option '+{option}' is wrong: options are {', '.join(OPTIONS)}")
        if name == "fault" and (row.like or not row.policies):
            raise ScenarioError(f"in '{text}' the fault needs the driver of controller dmasafe")
        if name == "hardware" and not row.may_fail:
            raise ScenarioError(f"in '{text}' the hardware cannot fail: only that of suite {HOSTS} can")
        if name == "meanwhile" and not row.may_fail:
            raise ScenarioError(f"in '{text}' the driver stays: only those of suite {HOSTS} are unbound beside a call")
        if (name, value) == ("meanwhile", UNBOUND) and not OPERATIONS[operation].from_user_space:
            raise ScenarioError(f"in '{text}' nothing is open: only i2cdev_* calls can be made on what is unbound")
        options.append((name, value))
    needs = OPERATIONS[operation].needs
    if needs is not None and needs.partition("=")[0] not in dict(options):
        raise ScenarioError(f"in '{text}' {operation} needs an option such as '+{needs}'")
    return Scenario(buffer, operation, controller, policy or None, count, where, tuple(sorted(options)))


def _one_of(what: str, value: str, values: list[str]) -> None:
    if value not in values:
        raise ScenarioError(unknown(what, value, values))


def _rdwr_messages(text: str) -> bool:
    messages = text.split(",")
    return all(m[:1] in ("r", "w") and m[1:].isascii() and m[1:].isdigit() for m in messages)


SMBUS_PROTOCOLS = (
    "quick", "byte", "byte_data", "word_data", "proc_call", "block_data", "i2c_block_data", "block_proc_call",
)  # fmt: skip
# Every option, with the check that its value must pass.
OPTIONS: dict[str, Callable[[str], bool]] = {
    "dma_safe": lambda value: value in ("0", "1"),
    "threshold": lambda value: value.isascii() and value.isdigit() and len(value) <= 5,
    "messages": _rdwr_messages,
    "protocol": lambda value: value in SMBUS_PROTOCOLS,
    "rd": lambda value: value in ("0", "1"),
    "command": lambda value: value.isascii() and value.isdigit() and int(value) < 256,
    "pec": lambda value: value in ("0", "1"),
    "then": lambda value: 0 < len(value) <= 3 and set(value) <= set(STEPS),
    "fault": lambda value: value in FAULTS,
    "hardware": lambda value: value in HARDWARE_FAULTS,
    "meanwhile": lambda value: value in MEANWHILE,
}


def places() -> Iterator[tuple[str, str | None]]:
    """Every controller that is always there, with each of its policies."""
    for controller in CONTROLLERS.values():
        if controller.always:
            yield from ((controller.name, policy) for policy in controller.policies or (None,))


CORE_LENGTHS = (1, 8, 32, 256)

# (operation, length, address, options) of the i2c-dev rows: sizes, NAK, zero length, wrong size, every SMBus protocol.
_I2CDEV_ROWS: tuple[I2cdevRow, ...] = (
    *(("i2cdev_read", n, RECORDER_ADDRESS, {}) for n in CORE_LENGTHS),
    *(("i2cdev_write", n, RECORDER_ADDRESS, {}) for n in CORE_LENGTHS),
    *(("i2cdev_rdwr", n, RECORDER_ADDRESS, {"messages": f"w{n}"}) for n in CORE_LENGTHS),
    *(("i2cdev_rdwr", n, RECORDER_ADDRESS, {"messages": f"r{n}"}) for n in CORE_LENGTHS),
    *(("i2cdev_rdwr", n, RECORDER_ADDRESS, {"messages": f"w{n},r{n}"}) for n in CORE_LENGTHS),
    # zero length
    ("i2cdev_write", 0, RECORDER_ADDRESS, {}),
    ("i2cdev_read", 0, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", 0, RECORDER_ADDRESS, {"messages": "w0"}),
    # the limits of i2c-dev, and one byte more
    ("i2cdev_write", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {}),
    ("i2cdev_read", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {"messages": f"w{I2CDEV_MAX_BYTES}"}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES, RECORDER_ADDRESS, {"messages": f"r{I2CDEV_MAX_BYTES}"}),
    ("i2cdev_write", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {}),
    ("i2cdev_read", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {"messages": f"w{I2CDEV_MAX_BYTES + 1}"}),
    ("i2cdev_rdwr", I2CDEV_MAX_BYTES + 1, RECORDER_ADDRESS, {"messages": f"r{I2CDEV_MAX_BYTES + 1}"}),
    ("i2cdev_rdwr", 1, RECORDER_ADDRESS, {"messages": ",".join(["w1"] * I2CDEV_MAX_MESSAGES)}),
    ("i2cdev_rdwr", 1, RECORDER_ADDRESS, {"messages": ",".join(["w1"] * (I2CDEV_MAX_MESSAGES + 1))}),
    # nobody there
    ("i2cdev_write", 8, ABSENT_ADDRESS, {}),
    ("i2cdev_read", 8, ABSENT_ADDRESS, {}),
    ("i2cdev_rdwr", 8, ABSENT_ADDRESS, {"messages": "w8"}),
    ("i2cdev_rdwr", 8, ABSENT_ADDRESS, {"messages": "w8,r8"}),
    ("i2cdev_smbus", 0, ABSENT_ADDRESS, {"protocol": "quick", "rd": "0"}),
    # a slave that refuses the second byte
    ("i2cdev_write", 8, NAK_DATA_ADDRESS, {}),
    # every SMBus protocol; wrong sizes, and the protocol that i2c_smbus_xfer_emulated() lacks
    *SMBUS,
    ("i2cdev_smbus", 33, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "18"}),
    ("i2cdev_smbus", 0, SMBUS_BLOCK_ADDRESS, {"protocol": "block_data", "rd": "0", "command": "18"}),
    ("i2cdev_smbus", 8, SMBUS_BLOCK_ADDRESS, {"protocol": "block_proc_call", "rd": "1", "command": "19"}),
)  # fmt: skip


def core_suite() -> list[Scenario]:
    """Buffer kinds x operations x controllers and policies x lengths; every i2c-dev operation on each of these."""
    scenarios = [
        Scenario(kind, operation, controller, policy, length, options=options)
        for controller, policy in places()
        for kind in BUFFER_KINDS
        for operation, options in CORE_OPERATIONS
        for length in CORE_LENGTHS
    ]
    for controller, policy in places():
        for operation, length, address, options in _I2CDEV_ROWS:
            scenarios.append(Scenario(USER.name, operation, controller, policy, length, address, make_options(options)))
    return scenarios


# One boot's worth of everything that can happen: each outcome, each policy, both directions, both fronts.
_SMOKE_IDS = """
heap/master_send/virtio/8
heap/master_recv/virtio/8
heap/master_send_dmasafe/virtio/32
heap/master_recv_dmasafe/virtio/32
stack/master_send/virtio/8
stack/master_send_dmasafe/virtio/8
heap/master_send/dmasafe:bounce/8
heap/master_send/dmasafe:bounce/8+threshold=32
heap/master_send_dmasafe/dmasafe:bounce/8
heap/master_recv_dmasafe/dmasafe:bounce/256
stack/master_send/dmasafe:bounce/8
stack/master_recv/dmasafe:bounce/8
stack/master_send_dmasafe/dmasafe:bounce/8
vmalloc/master_recv_dmasafe/dmasafe:bounce/32
rodata/master_send/dmasafe:bounce/8
rodata/master_recv_dmasafe/dmasafe:bounce/8
module-rodata/master_send_dmasafe/dmasafe:bounce/8
module-data/master_recv_dmasafe/dmasafe:bounce/8
coherent/master_recv_dmasafe/dmasafe:bounce/8
heap/transfer/dmasafe:bounce/8+dma_safe=1
heap/get_put/dmasafe:bounce/8+dma_safe=0
heap/master_send/dmasafe:flag-only/8
stack/master_recv/dmasafe:flag-only/8
stack/master_send/dmasafe:trusting/8
heap/master_send/dmasafe:trusting/8
heap/master_send_dmasafe/dmasafe:pio/8
user/i2cdev_read/dmasafe:bounce/8
user/i2cdev_write/dmasafe:bounce/8
user/i2cdev_rdwr/dmasafe:bounce/8+messages=w8,r8
user/i2cdev_write/dmasafe:bounce/8@77
"""


def smoke_suite() -> list[Scenario]:
    """Thirty scenarios that between them show each outcome."""
    return [parse_scenario(line) for line in _SMOKE_IDS.split()]


def faults_suite() -> list[Scenario]:
    """Every seeded fault; before them the same scenarios without, which show what is the fault's doing."""
    faulty = [parse_scenario(f"{shown}+fault={fault.name}") for fault in FAULTS.values() for shown in fault.shown_with]
    return [*dict.fromkeys(scenario.without_fault for scenario in faulty), *faulty]


def _of_all(suite_name: str) -> list[Scenario]:
    """What each controller has in this suite, in their order."""
    found = (row.scenarios[suite_name]() for row in CONTROLLERS.values() if suite_name in row.scenarios)
    return [scenario for scenarios in found for scenario in scenarios]


def upstream_suite() -> list[Scenario]:
    """Upstream's controllers: buffer kinds x i2c_transfer() and its callers x a few lengths, and what i2c-dev does."""
    return _of_all(UPSTREAM) + _of_all(UPSTREAM_LIMITS)


def buses_suite() -> list[Scenario]:
    """Every call on every other bus, with every buffer kind that the call can be given."""
    return _of_all("buses")


def hosts_suite() -> list[Scenario]:
    """Upstream's own controllers: buffer kinds x i2c_transfer() and its callers x lengths around each threshold."""
    return _of_all(HOSTS)


SUITES: dict[str, tuple[str, Callable[[], list[Scenario]]]] = {
    "core": (
        "every buffer kind, operation, controller, policy and length; every i2c-dev operation",
        core_suite,
    ),
    "smoke": ("30 scenarios that show each outcome, for a first look", smoke_suite),
    "board": ("reads by i2c-dev on a board's own bus, named by --bus and --address", board_suite),
    "upstream": ("upstream's controllers, USB bridges among them (with --config upstream)", upstream_suite),
    "buses": ("regmap and MTD on SPI, SPMI, SLIMbus, 1-Wire (with --config upstream): who maps what?", buses_suite),
    HOSTS: ("upstream's own controllers on emulated hardware (with --config hosts): who maps what?", hosts_suite),
    LEAVING: ("upstream's own controllers whose driver is unbound beside a call", partial(_of_all, LEAVING)),
    "faults": ("every mistake that can be seeded into a driver: who notices?", faults_suite),
}


# Suites that go over addresses, if the user names any.
_AT_ADDRESSES: dict[str, Callable[[Sequence[int]], list[Scenario]]] = {"board": board_suite}


def suite(name: str, addresses: Sequence[int] = ()) -> list[Scenario]:
    """The scenarios of a named suite, some at these addresses; raises ScenarioError for an unknown name."""
    if name not in SUITES:
        raise ScenarioError(unknown("suite", name, SUITES))
    return _AT_ADDRESSES[name](addresses) if addresses and name in _AT_ADDRESSES else SUITES[name][1]()


def select(patterns: Sequence[str]) -> list[Scenario]:
    """Scenarios by id, or by shell pattern (``stack/*_dmasafe/*``), in order, without repetition.

    A pattern goes over the core suite; if nothing matches there, over the upstream suite (``stack/*/osif/*``), then
    over the buses and the hosts suite. One that asks for a fault (``*+fault=free-*``) goes over the faults suite.

    Raises ScenarioError for an id that cannot be read and for a pattern that matches nothing.
    """
    chosen: dict[str, Scenario] = {}
    for pattern in patterns:
        matching = _matching(pattern) if any(c in pattern for c in "*?[") else [parse_scenario(pattern)]
        chosen.update((s.id, s) for s in matching)
    return list(chosen.values())


def _matching(pattern: str) -> list[Scenario]:
    names = ("faults",) if "+fault=" in pattern else ("core", "upstream", "buses", HOSTS, LEAVING)
    for name in names:
        matching = [s for s in suite(name) if fnmatch.fnmatchcase(s.id, pattern)]
        if matching:
            return matching
    where = " or ".join(names)
    buffer = pattern.partition("/")[0]
    if not any(c in buffer for c in "*?["):
        _one_of("buffer kind", buffer, [*BUFFER_KINDS, USER.name])
    raise ScenarioError(f"no scenario of suite {where} matches '{pattern}' (see 'dmasafe list --scenarios {names[0]}')")


# The words of scenarios are looked for here too.
__all__ = [
    "ABSENT_ADDRESS", "BOARD", "BOARD_ADDRESS", "BUFFER_KINDS", "CONTROLLERS", "CORE_LENGTHS", "I2CDEV_MAX_BYTES",
    "I2CDEV_MAX_MESSAGES", "NAK_DATA_ADDRESS", "OPERATIONS", "OPTIONS", "POLICIES", "RECORDER_ADDRESS",
    "REGISTER_FILE_ADDRESS", "SMBUS_BLOCK_ADDRESS", "SMBUS_PROTOCOLS", "STEPS", "SUITES", "USER", "Scenario",
    "ScenarioError", "board_suite", "buses_suite", "core_suite", "faults_suite", "hosts_suite", "parse_scenario",
    "places", "select", "smoke_suite", "suite", "upstream_suite",
]  # fmt: skip
