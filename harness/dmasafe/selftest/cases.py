# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``dmasafe selftest`` goes through: dmasafe/targets/sabotage.py's rows from inside a run, and those from outside.

A row says within which bound the run must end, how, and what the reason must say.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dmasafe.kernel import project_root
from dmasafe.selftest.arena import Arena, SelftestError
from dmasafe.targets.sabotage import SABOTAGES, Sabotage, SabotageKind

# A run that is wrecked in its first boot and goes on in a second one, on a machine with better things to do.
BOUND_S = 60.0
# After the signal.
INTERRUPTED_BOUND_S = 10.0
INTERRUPTED = 130
# Less than a boot's log needs, and enough for what a run makes before its first word is logged.
FULL_DISK_KIB = 24


@dataclass(frozen=True)
class Case:
    """One wrecked run.

    ``start`` starts and wrecks it. It must end within ``bound_s`` (after the interrupt, if there is one), with one of
    ``statuses``; ``reason`` (a regular expression) must be found in every INCONCLUSIVE, or, where there is no such
    result, in what was printed. ``passes``: scenarios may PASS, since a part of the run was sound; ``keeps`` of them
    must. ``kept``: DIR/latest must be there. ``configuration`` is the kernel's, if the case needs one.
    """

    name: str
    kind: SabotageKind
    what: str
    start: Callable[[Arena], None]
    reason: str
    bound_s: float = BOUND_S
    statuses: tuple[int, ...] = (2,)
    passes: bool = True
    keeps: int = 0
    kept: bool = True
    configuration: str = ""


def _inside(row: Sabotage) -> Case:
    def start(arena: Arena) -> None:
        arena.run("--sabotage", row.name, *(("--config", row.configuration) if row.configuration else ()))

    some = not row.spoils_all
    return Case(
        row.name, row.kind, row.what, start, row.reason, passes=some, keeps=int(some), configuration=row.configuration,
        statuses=(0,) if row.heals else (2,),
    )  # fmt: skip


# ---- the host


def _on_full_disk(arena: Arena, place: Path, **environment: str) -> None:
    """Mount a tiny disk at ``place``, in namespaces of the run's own, which end with it."""
    place.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size={FULL_DISK_KIB}k none "$0" && exec "$@"'
    probe = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(place)]
    if subprocess.run([*probe, "true"], capture_output=True, check=False).returncode:
        raise SelftestError("no disk can be mounted here (unshare --map-root-user --mount): a full one is not tried")
    arena.run(wrapper=probe, environment=environment)


def _full_temporary(arena: Arena) -> None:
    _on_full_disk(arena, arena.temporary)


def _full_out(arena: Arena) -> None:
    _on_full_disk(arena, arena.out)


def _remove_out(arena: Arena) -> None:
    arena.run()
    arena.until_stage("scenarios")
    shutil.rmtree(arena.out)


def _replace_out(arena: Arena) -> None:
    _remove_out(arena)
    arena.out.write_text("in the way\n")


def _clock_back(arena: Arena) -> None:
    library = arena.directory / "clock-back.so"
    source = project_root() / "scripts" / "clock-back.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True, capture_output=True)
    arena.run(environment={"LD_PRELOAD": str(library)})


def _twice(arena: Arena) -> None:
    arena.run()
    arena.run()


# ---- Ctrl-C

_MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 0

tinyconfig:
\t@touch "$(dir $(lastword $(MAKEFILE_LIST)))../building"; exec sleep 1000
"""


def _interrupt_fetch(arena: Arena) -> None:
    """A server that takes the request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(BOUND_S)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/linux.tar.xz#sha256={'0' * 64}"
        arena.run("--kernel", url, environment={"DMASAFE_CACHE": str(arena.directory / "cache")})
        connection, _address = server.accept()
        with connection:
            arena.interrupt()
            arena.wait()


def _interrupt_build(arena: Arena) -> None:
    """A kernel tree whose make does not end."""
    tree = arena.directory / "linux"
    (tree / "scripts" / "kconfig").mkdir(parents=True)
    (tree / "Makefile").write_text(_MAKEFILE)
    (tree / "Kconfig").write_text("")
    (tree / "scripts" / "kconfig" / "merge_config.sh").write_text("")
    arena.run("--kernel", str(tree), environment={"DMASAFE_CACHE": str(arena.directory / "cache")})
    arena.until("make", (arena.directory / "building").exists)
    arena.interrupt()


def _interrupt_boot(arena: Arena) -> None:
    arena.run()
    arena.until_stage("boot")
    arena.interrupt()


def _interrupt_scenarios(arena: Arena) -> None:
    arena.run()
    arena.until_stage("scenarios")
    arena.interrupt()


def _interrupt_report(arena: Arena) -> None:
    arena.run()
    arena.until("the report", lambda: any(arena.out.glob(".unfinished-*/results.json")), poll_s=0.0005)
    arena.interrupt()


_INTERRUPTED = r"^dmasafe: interrupted"
_BY_USER = r"interrupted by the user"

_OUTSIDE: tuple[Case, ...] = (
    Case("disk-full-tmp", SabotageKind.HOST, "the disk below TMPDIR is full", _full_temporary,
         r"cannot write \S+kmsg\.log: No space left on device"),
    Case("disk-full-out", SabotageKind.HOST, "the disk for the results is full", _full_out,
         r"cannot write \S+: No space left on device", kept=False),
    Case("results-gone", SabotageKind.HOST, "the results' directory is removed during the run", _remove_out, r"^PASS: ",
         statuses=(0,)),
    Case("results-in-the-way", SabotageKind.HOST, "a file takes the place of the results' directory", _replace_out,
         r"cannot write results below \S+: (File exists|Not a directory)", kept=False),
    Case("clock-back", SabotageKind.HOST, "the wall clock goes back by an hour each second", _clock_back, r"^PASS: ",
         statuses=(0,)),
    Case("two-runs", SabotageKind.HOST, "two runs share results, cache and machine", _twice, r"^PASS: ", statuses=(0,)),
    Case("ctrl-c-fetch", SabotageKind.INTERRUPT, "Ctrl-C while a source is fetched", _interrupt_fetch, _INTERRUPTED,
         INTERRUPTED_BOUND_S, (INTERRUPTED,), kept=False),
    Case("ctrl-c-build", SabotageKind.INTERRUPT, "Ctrl-C while a kernel is configured and built", _interrupt_build,
         _INTERRUPTED, INTERRUPTED_BOUND_S, (INTERRUPTED,), kept=False),
    Case("ctrl-c-boot", SabotageKind.INTERRUPT, "Ctrl-C while the guest boots", _interrupt_boot, _BY_USER,
         INTERRUPTED_BOUND_S, passes=False),
    Case("ctrl-c-scenarios", SabotageKind.INTERRUPT, "Ctrl-C while scenarios run", _interrupt_scenarios, _BY_USER,
         INTERRUPTED_BOUND_S),
    # The signal may come when everything is written: then the run has simply ended.
    Case("ctrl-c-report", SabotageKind.INTERRUPT, "Ctrl-C while the results are written", _interrupt_report, r"^PASS: ",
         INTERRUPTED_BOUND_S, (0, INTERRUPTED)),
)  # fmt: skip

CASES: dict[str, Case] = {case.name: case for case in (*map(_inside, SABOTAGES.values()), *_OUTSIDE)}
# What `make test` tries: quick ones, one of each kind. docs/architecture.md says so.
QUICK = (
    "device-killed", "device-lies-wrong-bytes-dmasafe", "guest-panic", "miscount", "dma-debug-off", "foreign-modules",
    "half-line-then-end", "descriptor-stray", "results-in-the-way", "ctrl-c-scenarios",
)  # fmt: skip
