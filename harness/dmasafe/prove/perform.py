# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers on boards, in boots that many share: a driver that hangs or crashes costs itself, or at worst one boot.

What was seen of a driver is kept; a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dmasafe.kernel as kernels
from dmasafe.architecture import project_root
from dmasafe.devices.errors import DevicesError
from dmasafe.dmesg import parse_records
from dmasafe.guest.hands import Hands, Refused
from dmasafe.kernel.build import modules_digest
from dmasafe.kernel.cache import digest, publish_json, read_json
from dmasafe.kernel.modules import module_name
from dmasafe.progress import Progress
from dmasafe.prove.drivers import KNOWN, MAX_WORDS, Chip, Driver
from dmasafe.prove.evidence import Attempt, Chain, read_chains
from dmasafe.prove.judge import SHOWN_BY
from dmasafe.targets.errors import BootLost
from dmasafe.targets.prepare import Prepared
from dmasafe.targets.shared_boot import SharedBoot, trusted_boot

#: images/SOURCES has the module and the script.
SOURCES = "prove"
MODULE = "dmasafe_prove"
SCRIPT = "exercise"
DIRECTORY = f"/sys/kernel/debug/{MODULE}"
#: Numbers of boards are not used again in a boot.
BOARDS_PER_BOOT = 240
#: A step of an attempt, and all of them.
STEP_S = 5
ATTEMPT_S = 150
MEMORY_MIB = 768
MAX_ATTEMPTS = 24
#: Attempts of each driver by and by: what is easy comes first.
ROUNDS = (2, 5, 10, MAX_ATTEMPTS)
#: What to answer if nothing better is known.
RULES = ("00", "ff", "toggle", "echo", "count", "random")
#: For drivers that insist on a slow clock, or on SPI mode 1.
SLOW = ("hz:1000000", "mode:1")
#: How a switch's ports may be wired, other than by MII.
PHY_MODES = ("rmii", "rgmii")
# A driver whose boot is lost twice is left alone.
MAX_LOST = 2

_EIGHT = re.compile(r"^(u:[^/=]+)=1$")
_SHOWING = frozenset().union(*SHOWN_BY.values())
_CRASHED = ("BUG:", "Oops:", "kernel BUG at")
_FAILED = ("probe with driver", "probe of ", "deferred probe", *_CRASHED)
#: Steps that hold a lock of the driver core's.
_HOLDING = ("new", "suspend", "unbind", "delete")
#: The number of the first board's bus, as in images/prove/prove.h.
BUS_BASE = 1000
#: Of the log, for each board.
MAX_LINES = 10


@dataclass(frozen=True)
class Store:
    """Where evidence is kept: a file a driver, for one kernel and one way to exercise a board."""

    directory: Path

    @classmethod
    def of(cls, kernel: kernels.Kernel) -> Store:
        """The store for a kernel, as boards and script are now."""
        images = project_root() / "images" / SOURCES
        way = digest(modules_digest(images), (images / SCRIPT).read_bytes())
        return cls(kernels.open_cache().path("proofs", f"{kernel.key}-{way[:12]}"))

    def load(self, module: str) -> list[Attempt]:
        """What was seen of a driver."""
        found = read_json(self.directory / f"{module}.json")
        return [Attempt.from_json(one) for one in found["attempts"]] if found is not None else []

    def save(self, module: str, attempts: Sequence[Attempt]) -> None:
        """Keep what was seen of a driver, and of what was kept before whatever these attempts do not show again."""
        kept = [one for one in self.load(module) if not any(other.covers(one) for other in attempts)]
        self.directory.mkdir(parents=True, exist_ok=True)
        publish_json(self.directory / f"{module}.json", {"attempts": [one.to_json() for one in (*kept, *attempts)]})


def wishes(driver: Driver) -> list[str]:
    """Boards for a driver, the likeliest first: each chip, what its probe asks for, what the chip might answer."""
    more = [*driver.words, *driver.properties][:MAX_WORDS]
    first = driver.chips[0]
    nodes = [word for word in driver.properties if "/" in word]

    def wish(chip: Chip, words: Sequence[str], rule: str, *flags: str) -> str:
        return " ".join([chip.modalias, chip.compatible or "-", "irq", f"a:{rule}", *flags, *words])

    # A driver that looks for children seldom does anything without.
    plain = [*driver.words, *nodes][:MAX_WORDS]
    made = [wish(first, plain, rule) for rule in (*KNOWN.get(driver.module, ())[1:], "00", "ff")]
    ports = [[word.replace("=mii", f"={mode}") for word in plain] for mode in PHY_MODES]
    made += [wish(first, words, rule) for words in ports if words != plain for rule in driver.constants[:1]]
    made += [wish(first, plain, rule) for rule in driver.constants[:2]]
    made += [wish(first, words, "00") for words in (more, [_EIGHT.sub(r"\1=8", word) for word in more])]
    made += [wish(first, plain, "00", "pdata"), wish(first, plain, "00", *SLOW), wish(first, plain, "ff", "pulse")]
    made += [wish(first, plain, "toggle"), *(wish(chip, plain, "00") for chip in driver.chips[1:])]
    made += [wish(first, plain, rule) for rule in driver.constants[2:]]
    made += [wish(first, more, rule) for rule in driver.constants[:4]]
    made += [wish(first, plain, rule) for rule in RULES[3:]]
    made += [wish(chip, plain, rule) for chip in driver.chips[1:] for rule in ("ff", *driver.constants[:2])]
    return list(dict.fromkeys(made))[:MAX_ATTEMPTS]


def left(driver: Driver, attempts: Sequence[Attempt]) -> list[str]:
    """The boards for a driver that were not tried yet; none if it has cost too many already."""
    if len({one.wish for one in attempts if one.lost}) >= MAX_LOST:
        return []
    tried = {one.wish for one in attempts}
    return [wish for wish in wishes(driver) if wish not in tried]


class Prover:
    """Puts drivers on boards, boot after boot; a context manager. ``prepared`` has SOURCES and the drivers' modules."""

    def __init__(self, prepared: Prepared, directory: Path, progress: Progress) -> None:
        self._image = replace(prepared.image, memory_mib=MEMORY_MIB)
        self._prepared = prepared
        self._directory = directory
        self._progress = progress
        self._shared: SharedBoot | None = None
        self._loaded: set[str] = set()
        self._driver = ""
        self._boots = 0
        self._board = 0

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def prove(
        self, driver: Driver, attempts: list[Attempt], limit: int, enough: Callable[[Sequence[Attempt]], bool]
    ) -> None:
        """Add attempts with a driver until they are ``enough``, or ``limit``, or there is nothing left to try.

        Raises BootLost, DevicesError if no boot can be believed.
        """
        while len(attempts) < limit and (todo := left(driver, attempts)) and not enough(attempts):
            attempts.append(self._attempt(driver, todo[0]))

    def _attempt(self, driver: Driver, wish: str) -> Attempt:
        shared = self._boot()
        board = self._board
        self._board += 1
        said: list[str] = []
        chains: tuple[Chain, ...] = ()
        records: list[str] = []
        try:
            said += self._load(shared, driver)
            shared.begin(f"board {board}")
            shared.boot.request("write", path=f"{DIRECTORY}/chains", data="0")
            lost = self._exercise(shared, f"{board} {shlex.quote(wish)}", said)
            shared.flush()
            records = shared.records()
            rows = Hands(shared.boot.request).read(f"{DIRECTORY}/chains").decode(errors="replace")
            chains, cut_off = read_chains(rows, board)
            untrusted = shared.distrust() or ""
            if untrusted or self._is_spent(records, said):
                self._end()
            lost = lost or cut_off or untrusted
        except (BootLost, DevicesError, Refused) as error:
            self._end()
            lost = str(error)
        lines = [part for record in records for part in record.partition(";")[2].splitlines()[:1]]
        words = (f" spi{BUS_BASE + board}.0: ", *_FAILED)
        said += [f"why: {line}" for line in lines if any(word in line for word in words)][:MAX_LINES]
        splats = [splat for splat in parse_records(records) if splat.splat_class in _SHOWING]
        return Attempt(wish, tuple(said), chains, tuple(splats), lost)

    @staticmethod
    def _is_spent(records: Sequence[str], said: Sequence[str]) -> bool:
        """Whether the next board would suffer: who crashes or hangs in the kernel keeps what others wait for."""
        hung = any(line.startswith(_HOLDING) and ": not ended" in line for line in said)
        return hung or any(word in record for record in records for word in _CRASHED)

    def _exercise(self, shared: SharedBoot, words: str, said: list[str]) -> str:
        """Have the script make a board and take it through its life; why it did not come to the end, or ""."""
        try:
            said += (
                Hands(shared.boot.request).run(f"sh /modules/{SCRIPT} {STEP_S} {words}", ATTEMPT_S).output.splitlines()
            )
        except Refused as refused:
            return f"the steps of the board did not end: {refused.why}"
        return ""

    def _boot(self) -> SharedBoot:
        """The boot under way, or a new one whose canary has splatted. Raises BootLost, DevicesError."""
        if self._shared is not None and self._board < BOARDS_PER_BOOT:
            return self._shared
        self._end()
        # A busy machine can cost one.
        with contextlib.suppress(BootLost, DevicesError):
            return self._start()
        return self._start()

    def _start(self) -> SharedBoot:
        self._boots += 1
        self._progress.stage(f"boot {self._boots}")
        directory = self._directory / f"boot-{self._boots}"
        shared = trusted_boot(self._image, self._prepared.kernel, self._prepared.facts, directory)
        with contextlib.ExitStack() as undo:
            undo.callback(shared.end)
            shared.boot.hands.load(f"/modules/{MODULE}.ko")
            undo.pop_all()
        self._shared = shared
        return shared

    def _load(self, shared: SharedBoot, driver: Driver) -> list[str]:
        """Load a driver's modules, and lay down files that it may take for firmware; which module was refused."""
        files = [f"/lib/firmware/{name}" for name in driver.firmware if ".." not in name]
        lines = []
        if self._driver not in ("", driver.module):
            # Two drivers can know the same chip. One that hangs keeps its module.
            lines.append(f"timeout 5 rmmod {self._driver} 2> /dev/null &")
            self._loaded.discard(self._driver)
        self._driver = driver.module
        lines += [
            f"mkdir -p {shlex.quote(f.rpartition('/')[0])}; head -c 4096 /dev/zero > {shlex.quote(f)}" for f in files
        ]
        for path in driver.load:
            name = module_name(path.stem)
            if name not in self._loaded:
                lines.append(f"insmod /modules/{path.name}")
                self._loaded.add(name)
        if not lines:
            return []
        output = Hands(shared.boot.request).run("\n".join(lines), ATTEMPT_S).output
        return [f"why: {line}" for line in output.splitlines() if line.startswith("insmod:")]

    def _end(self) -> None:
        if self._shared is not None:
            self._shared.end()
        self._shared = None
        self._loaded.clear()
        self._driver = ""
        self._board = 0


def stripped(modules: Sequence[Path], directory: Path) -> list[Path]:
    """Copies of modules without debug information, which no guest has room for."""
    copies = [directory / path.name for path in modules]
    for path, copy in zip(modules, copies, strict=True):
        subprocess.run(["objcopy", "--strip-debug", str(path), str(copy)], check=True)
    return copies
