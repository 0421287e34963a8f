# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers on boards, in boots that many share: a driver that hangs or crashes costs itself, or at worst one boot.

What was seen of a driver is kept; a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import contextlib
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
from dmasafe.prove.drivers import MAX_WORDS, Chip, Driver
from dmasafe.prove.evidence import Attempt, read_chains
from dmasafe.prove.judge import BOARD, SHOWN_BY
from dmasafe.targets.errors import BootLost
from dmasafe.targets.prepare import Prepared
from dmasafe.targets.shared_boot import SharedBoot

#: images/SOURCES has the module and the script.
SOURCES = "prove"
MODULE = BOARD
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
# A driver whose boot is lost twice is left alone.
MAX_LOST = 2

_SHOWING = frozenset().union(*SHOWN_BY.values())
_FAILED = ("probe with driver", "probe of ", "deferred probe", "BUG:", "Oops:", "kernel BUG at")


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
        """Keep what was seen of a driver."""
        self.directory.mkdir(parents=True, exist_ok=True)
        publish_json(self.directory / f"{module}.json", {"attempts": [one.to_json() for one in attempts]})


def wishes(driver: Driver) -> list[str]:
    """Boards for a driver, the likeliest first: each chip, what its probe asks for, what the chip might answer."""
    more = [*driver.words, *driver.properties][:MAX_WORDS]
    first = driver.chips[0]
    nodes = [word for word in driver.properties if "/" in word]

    def wish(chip: Chip, words: Sequence[str], rule: str, *flags: str) -> str:
        return " ".join([chip.modalias, chip.compatible or "-", "irq", f"a:{rule}", *flags, *words])

    # A driver that looks for children seldom does anything without.
    plain = [*driver.words, *nodes][:MAX_WORDS]
    made = [wish(first, plain, "00"), wish(first, plain, "ff")]
    made += [wish(first, more, "00")] if more != plain else []
    made += [wish(first, plain, rule) for rule in driver.constants[:2]]
    made += [wish(first, plain, "toggle"), wish(first, plain, "00", "pdata")]
    made += [wish(chip, plain, "00") for chip in driver.chips[1:]]
    made += [wish(first, plain, rule) for rule in driver.constants[2:]]
    made += [wish(first, more, rule) for rule in driver.constants[:4]]
    made += [wish(first, plain, rule) for rule in RULES[3:]]
    made += [wish(chip, plain, rule) for chip in driver.chips[1:] for rule in ("ff", *driver.constants[:2])]
    return list(dict.fromkeys(made))[:MAX_ATTEMPTS]


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
        #: Why boots were not believed, or were lost.
        self.notes: list[str] = []

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def prove(
        self, driver: Driver, attempts: list[Attempt], limit: int, enough: Callable[[Sequence[Attempt]], bool]
    ) -> None:
        """Add attempts with a driver until they are ``enough``, or ``limit``, or there is nothing left to try."""
        tried = {one.wish for one in attempts}
        for wish in [wish for wish in wishes(driver) if wish not in tried]:
            lost = sum(bool(one.lost) for one in attempts)
            if len(attempts) >= limit or lost >= MAX_LOST or (attempts and enough(attempts)):
                break
            attempts.append(self._attempt(driver, wish))

    def _attempt(self, driver: Driver, wish: str) -> Attempt:
        said: list[str] = []
        try:
            shared = self._boot()
            self._load(shared, driver)
            shared.flush()
            # No more than so many records are kept at a time.
            shared.clear()
            shared.boot.request("write", path=f"{DIRECTORY}/chains", data="0")
            board = self._board
            self._board += 1
            hands = Hands(shared.boot.request)
            command = f"sh /modules/{SCRIPT} {STEP_S} {board} {shlex.quote(wish)}"
            with contextlib.suppress(Refused):
                said = hands.run(command, ATTEMPT_S).output.splitlines()
            shared.flush()
            records = shared.records()
            chains = hands.read(f"{DIRECTORY}/chains").decode(errors="replace")
        except (BootLost, DevicesError) as error:
            self.notes.append(f"{driver.module} {wish}: {error}")
            self._end()
            return Attempt(wish, tuple(said), lost=str(error))
        lines = [part for record in records for part in record.partition(";")[2].splitlines()[:1]]
        said += [f"why: {line}" for line in lines if any(word in line for word in _FAILED)][:5]
        splats = [splat for splat in parse_records(records) if splat.splat_class in _SHOWING]
        return Attempt(wish, tuple(said), tuple(read_chains(chains, board)), tuple(splats))

    def _boot(self) -> SharedBoot:
        """The boot under way, or a new one whose canary has splatted. Raises BootLost, DevicesError."""
        if self._shared is not None and self._board < BOARDS_PER_BOOT:
            return self._shared
        self._end()
        self._boots += 1
        self._progress.stage(f"boot {self._boots}")
        directory = self._directory / f"boot-{self._boots}"
        directory.mkdir()
        shared = SharedBoot(self._image, self._prepared.kernel, self._prepared.facts, directory)
        with contextlib.ExitStack() as undo:
            undo.callback(shared.end)
            shared.start()
            reason = shared.distrust()
            if reason is not None:
                raise BootLost(reason)
            shared.begin("prove")
            shared.boot.hands.load(f"/modules/{MODULE}.ko")
            undo.pop_all()
        self._shared = shared
        return shared

    def _load(self, shared: SharedBoot, driver: Driver) -> None:
        """Load a driver's modules, and lay down files that it may take for firmware."""
        hands = Hands(shared.boot.request)
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
        if lines:
            with contextlib.suppress(Refused):
                hands.run("\n".join(lines), ATTEMPT_S)

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
