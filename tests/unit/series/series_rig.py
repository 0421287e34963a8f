# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel tree of six files, and a bench whose kernels do what is written in them."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field, replace

from dmasafe.check import Change, check_contents
from dmasafe.facts import KernelInfo
from dmasafe.kernel.errors import BuildError
from dmasafe.outcome import Frame, Judgement, Outcome, Splat, Verdict
from dmasafe.report.results import Results, Row
from dmasafe.scenario import faults_suite
from dmasafe.series.choose import CLIENTS

CORE, DEV, BASE = "drivers/i2c/i2c-core-smbus.c", "drivers/i2c/i2c-dev.c", "drivers/i2c/i2c-core-base.c"
CLIENT, RTC = "drivers/iio/potentiometer/ad5110.c", "drivers/rtc/rtc-max6902.c"
DOCUMENT = "Documentation/i2c/dma-considerations.rst"
FILES = {
    "Makefile": "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\n",
    "Kconfig": "",
    "scripts/kconfig/merge_config.sh": "",
    **dict.fromkeys((CORE, DEV, BASE, CLIENT, DOCUMENT), "first\n"),
    RTC: (
        "static int set(struct spi_device *spi)\n{\n\tu8 buf[2] = {};\n\n"
        "\treturn spi_write_then_read(spi, buf, 2, 0, 0);\n}\n"
    ),
}
SEND, READ, STACK = "heap/master_send/virtio/8", "user/i2cdev_read/dmasafe:trusting/8", "stack/master_send/virtio/8"
FAULT = faults_suite()[-1].id
PROBE = "ad5110/use/dmasafe:bounce"
WHY = "as the source says"


def git(tree, *words, **environment):
    """What git prints; all commits are dmasafe's."""
    who = {f"GIT_{one}_{part}": value for one in ("AUTHOR", "COMMITTER") for part, value in
           (("NAME", "dmasafe"), ("EMAIL", "dmasafe@example.org"), ("DATE", "2026-01-02T00:00:00Z"))}  # fmt: skip
    done = subprocess.run(
        ["git", "-C", tree, *words],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **who, **environment},
    )
    return done.stdout.strip()


def commit(tree, subject, **contents):
    """A commit with these files: their names are keys of globals(), in small letters."""
    for name, text in contents.items():
        path = tree / globals()[name.upper()]
        path.write_text(text)
    git(tree, "commit", "--quiet", "--all", "--allow-empty", "-m", subject)
    return git(tree, "rev-parse", "HEAD")


def make_tree(path):
    for name, text in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git(path, "init", "--quiet", "--initial-branch=master")
    git(path, "add", "--force", ".")
    git(path, "commit", "--quiet", "-m", "Linux 6.12.117")
    git(path, "tag", "v6.12.117")
    git(path, "checkout", "--quiet", "-b", "mine")
    return path


def splat(function="payload_map", splat_class="map-vmalloc-rejected"):
    frames = (Frame("dma_map_page_attrs", 0x40, 0x120), Frame(function, 0x1F, 0x2A0, "dmasafe_controller", True))
    return Splat(splat_class, "0000:00:05.0", "dmasafe", "rejecting DMA map of vmalloc memory", {}, frames=frames)


def safe(direct=None, expected=Outcome.SAFE, us=50.0):
    verdict = Verdict.PASS if expected is Outcome.SAFE else Verdict.FAIL
    return Judgement(verdict, Outcome.SAFE, expected, WHY, direct, (), us)


def caught(*splats, expected=Outcome.SAFE):
    verdict = Verdict.PASS if expected is Outcome.CAUGHT else Verdict.FAIL
    return Judgement(verdict, Outcome.CAUGHT, expected, WHY, None, splats or (splat(),), 50.0)


def silent(expected=Outcome.SAFE):
    verdict = Verdict.PASS if expected is Outcome.SILENT else Verdict.FAIL
    return Judgement(verdict, Outcome.SILENT, expected, WHY, None, (), 50.0)


def refused(expected=Outcome.REFUSED):
    verdict = Verdict.PASS if expected is Outcome.REFUSED else Verdict.FAIL
    return Judgement(verdict, Outcome.REFUSED, expected, WHY, None, (), 50.0)


def lost(why="log records were lost"):
    return Judgement(Verdict.INCONCLUSIVE, None, Outcome.SAFE, why)


def skipped(why="no highmem"):
    return Judgement(Verdict.SKIP, None, None, why)


def row(id_, judgement):
    buffer, operation, place = id_.split("/")[:3]
    controller, _, policy = place.partition(":")
    return Row(id_, buffer, operation, controller, policy or None, 8, judgement)


def results(rows, suite="core", reason=None, canary=True):
    kernel = KernelInfo("6.12.117", "x86_64", "default", "a tree")
    return Results(suite, "qemu", kernel, "tcg", canary, tuple(row(*each) for each in rows.items()), reason=reason)


@dataclass
class FakeBench:
    """Kernels that read the words ``BREAK``, ``WORSE``, ``BETTER``, ``FLAKY``, ``LOST`` in their sources."""

    repository: object
    series: object
    asked: list[str] = field(default_factory=list)
    kept: dict = field(default_factory=dict)
    flakes: int = 0
    read: dict = field(default_factory=dict)

    def contents(self, one):
        names = [name for name in FILES if name.endswith(".c")]
        if one.tree not in self.read:
            found = self.repository.contents(one, names)
            self.read[one.tree] = {name: text.decode() for name, text in found.items()}
        return self.read[one.tree]

    def check(self):
        names = [path for path in self.series.paths if path.endswith(".c")]
        before, after = (self.repository.contents(one, names) for one in (self.series.base, self.series.tip))
        self.repository.check_out(self.series.tip, self.series)
        return check_contents(Change(before, after), self.repository.tree)

    def compile(self, one, cell):
        self.asked.append(f"build {one.subject}")
        for name, text in self.contents(one).items():
            for number, line in enumerate(text.splitlines(), 1):
                if "BREAK" in line:
                    raise BuildError(
                        "building failed (exit status 2); its last lines are\n"
                        f"    ../../tree/{name}:{number}:2: error: 'BREAK' undeclared\nand the whole log is /x"
                    )

    def known(self, one, job):
        return self.kept.get((one.tree, job))

    def perform(self, one, job, ids=()):
        self.compile(one, job.cell)
        self.asked[-1] = f"run {job.suite} {one.subject}" + (f" {len(ids)}" if ids else "")
        found = self.contents(one)
        rows = {SEND: safe(), READ: safe(True), STACK: caught(expected=Outcome.CAUGHT), FAULT: safe()}
        if "WORSE" in found[CORE]:
            rows[SEND] = caught()
        if "WORSE" in found[DEV]:
            rows[READ] = safe(False, expected=Outcome.CAUGHT)
        if "BETTER" in found[DEV]:
            rows[STACK] = safe(False, expected=Outcome.CAUGHT)
        if "LOST" in found[DEV]:
            rows[READ] = lost()
        if "FLAKY" in found[BASE] and job.suite == "core":
            self.flakes += 1
            rows[SEND] = caught() if self.flakes % 2 else safe()
        if job.suite == CLIENTS:
            rows = {PROBE: caught(splat("i2c_core")) if "WORSE" in found[CLIENT] else safe()}
        there = {one.id for one in job.scenarios()}
        made = results({id_: one for id_, one in rows.items() if id_ in (ids or there)}, job.suite)
        return replace(made, kernel=replace(made.kernel, source=one.sha[:12]))


def mails(tree, directory, revisions):
    """The mailbox of git format-patch, with a message's id for each mail."""
    git(tree, "format-patch", "--quiet", "--thread", "--cover-letter", "-o", directory, revisions)
    box = directory / "series.mbox"
    box.write_bytes(b"".join(path.read_bytes() + b"\n" for path in sorted(directory.glob("*.patch"))))
    return box


def subjects(found):
    return [re.sub(r"^\[.*?\] ", "", one.subject) for one in found]
