# SPDX-License-Identifier: GPL-2.0-or-later
"""One controller as a row of answers about what carries its messages, so that nobody asks of which kind it is.

The defaults are those of an upstream I2C adapter. The kinds (usb_bridge.py, on_board.py, ...) are functions that fill
in what is different with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NamedTuple

from dmasafe.carriers.drivers import Driver
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Skip
from dmasafe.vocabulary import Scenario

Predict = Callable[[Scenario, KernelFacts], Expectation | Skip]
Has = Callable[[str], bool]


class Where(StrEnum):
    """The places in which a controller can be had."""

    MODEL = "model"
    GUEST = "guest"
    BOARD = "board"


class Record(Enum):
    """Whose word on what was on the bus an observation takes."""

    DEVICE = "the emulated device's"
    DEVICE_IF_ANY = "the emulated device's, if it has one"
    GUEST = "the answer's, from hardware inside the guest"
    NOBODY = "nobody's"


class Plug(NamedTuple):
    """How QEMU gets an emulated controller: by which protocol, and in which slot of the root bus.

    ``transport`` is ``vhost-user``, ``usbredir`` or ``vfio-user``. ``device`` is what dmasafe/devices emulates, ``hcd``
    the USB host controller that it is behind, whose slot it then is; vfio-user's get theirs when a machine is made (0).
    """

    transport: str
    slot: int
    device: str = ""
    hcd: str = ""

    @property
    def function(self) -> str:
        """The PCI function whose device does the DMA, on an x86 machine."""
        return f"0000:00:{self.slot:02x}.0"


@dataclass(frozen=True)
class Controller:
    """A controller: its ``name`` in scenario ids, and ``what`` it is in words.

    Scenarios. ``policies`` are those that its driver can be set to. ``fronts`` are who can make calls on it (see
    Operation.front), ``refusal`` is what the others are told. ``calls``, if any, are the only operations that it has,
    each with its longest payload in bytes. ``scenarios`` are its own in the named suites.

    Where. ``places`` can have it, ``elsewhere`` is the reason why others cannot. ``needs`` are Kconfig symbols, without
    which ``absent`` is the reason (``{symbol}``: the first that is missing). ``machine`` is the variation of the
    machine that comes with it.

    Expectations. ``like`` says which controller's driver does the same, with which policy, as this one's by each of its
    policies: it promises them and cannot be set to them. ``model`` is what the model makes its driver of,
    ``unmodelled`` why it has none. ``expects`` says what must come of a scenario, given the model's predict(); None
    leaves it to the model.

    In a guest. ``always``: every guest has it, not only where it is asked for. ``plug`` is what QEMU is given.
    ``driver`` is bound to its PCI function (``function``, if it is not the plug's), for USB to the host controller's.
    ``module`` of the harness's has it, on its device ``platform`` if any; ``words`` go into the agent's line.
    ``has_adapter``: the agent knows it as an I2C adapter. ``record``: see Record. ``impatient``: its driver gives up
    before a slow host has answered; ``stumbles``: what it does then is reported, too.
    ``own_bus``: a bus that the user names, of which nothing is known. ``survives_suspend``: its adapter is still there
    afterwards. ``reads_blocks``: it offers SMBus block reads. ``queues``: its driver hands over all messages of a
    transfer before the device sees the first. ``room``: a boot that has it has no more controllers than this with such
    a number, and none with another (0: it minds nobody). ``may_fail``: its hardware can be told to (a scenario's
    ``hardware``).

    ``sources`` are the files of the driver in the kernel's source, where nobody else says which.
    """

    name: str
    what: str
    policies: tuple[str, ...] = ()
    fronts: frozenset[str] = frozenset({"client", "i2cdev"})
    refusal: str = "{name} has no {operation}: see 'dmasafe list --scenarios buses'"
    calls: Mapping[str, int] = field(default_factory=dict)
    scenarios: Mapping[str, Callable[[], Iterable[Scenario]]] = field(default_factory=dict)
    places: frozenset[Where] = frozenset(Where)
    elsewhere: str = ""
    needs: tuple[str, ...] = ()
    absent: str = "this kernel does not have CONFIG_{symbol}"
    machine: str | None = None
    like: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    model: Driver | None = None
    unmodelled: str = "the model has no {name}"
    expects: Callable[[Scenario, KernelFacts, Predict], Expectation | Skip] | None = None
    always: bool = False
    plug: Plug | None = None
    driver: str = ""
    function: str = ""
    module: str | None = None
    platform: str | None = None
    words: tuple[str, ...] = ()
    has_adapter: bool = True
    record: Record = Record.DEVICE
    impatient: bool = False
    stumbles: bool = False
    own_bus: bool = False
    survives_suspend: bool = True
    reads_blocks: bool = True
    may_fail: bool = False
    queues: bool = False
    room: int = 0
    sources: tuple[str, ...] = ()

    def lacks(self, has: Has) -> str | None:
        """The first of its Kconfig symbols that is not set, or None."""
        return next((symbol for symbol in self.needs if not has(symbol)), None)

    def missing(self, has: Has) -> str | None:
        """Why a kernel does not have it, or None."""
        symbol = self.lacks(has)
        return None if symbol is None else self.absent.format(name=self.name, symbol=symbol)

    def not_modelled(self, has: Has) -> str | None:
        """Why the model of a kernel does not have it, or None."""
        return self.unmodelled.format(name=self.name) if self.model is None else self.missing(has)

    @property
    def maps_on(self) -> str | None:
        """The device in the guest whose DMA operations are asked, by its name there; None if no DMA is looked at."""
        return self.platform or self.function or (None if self.plug is None else self.plug.function) or None

    def not_at(self, place: Where) -> str | None:
        """Why it cannot be had there, or None."""
        return None if place in self.places else self.elsewhere
