# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series touches, and what is run for it: one table, from the names of files to suites, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from dmasafe.architecture import architecture_of
from dmasafe.carriers import CONTROLLERS
from dmasafe.carriers.hosts import HOSTS, LEAVING
from dmasafe.devices.hosts import hosts
from dmasafe.expect.client_drivers import CLIENT_DRIVERS, Phase
from dmasafe.expect.clients import DEFAULT_PLACES, ClientScenario
from dmasafe.findings.catalogue import load
from dmasafe.kernel import load_matrix
from dmasafe.scenario import Scenario, parse_scenario, suite

SMOKE, CLIENTS, FINDINGS = "smoke", "clients", "findings"
DEFAULT, UPSTREAM, IRQS = "default", "upstream", "hosts-irqs"
_OF_HOSTS = (HOSTS, LEAVING, FINDINGS)
#: The configuration that has what a suite runs on.
HOME = {**dict.fromkeys(_OF_HOSTS, HOSTS), "upstream": UPSTREAM, "buses": UPSTREAM, CLIENTS: UPSTREAM}


@dataclass(frozen=True)
class Job:
    """A suite in a cell; of it ``only`` these controllers, or clients, if any are named."""

    suite: str
    configuration: str
    arch: str
    only: tuple[str, ...] = ()

    @property
    def cell(self) -> tuple[str, str]:
        return self.configuration, self.arch

    @property
    def name(self) -> str:
        only = f" ({', '.join(self.only)})" if self.only else ""
        return f"{self.suite}{only} on {self.arch} {self.configuration}"

    def scenarios(self) -> Sequence[Scenario | ClientScenario]:
        """What is run, in order."""
        if self.suite == CLIENTS:
            rows = [row for name, row in CLIENT_DRIVERS.items() if not self.only or name in self.only]
            return [ClientScenario(row, phase, place) for place in DEFAULT_PLACES for row in rows for phase in Phase]
        found = _proofs() if self.suite == FINDINGS else suite(self.suite)
        return [one for one in found if not self.only or one.controller in self.only]


@dataclass(frozen=True)
class Row:
    """Files (shell patterns; ``*`` does not match a slash, ``**`` does) and what is run for them: (suite, only)."""

    files: tuple[str, ...]
    runs: tuple[tuple[str, tuple[str, ...]], ...]
    why: str

    def touched_by(self, paths: Iterable[str]) -> list[str]:
        """Those of the files that are in this row."""
        return [path for path in paths if any(matches(path, pattern) for pattern in self.files)]


# The smoke suite is the first news.
_CORE = ((SMOKE, ()), ("core", ()), ("faults", ()))
_VIRTIO = ((SMOKE, ()), ("core", ("virtio",)))
_BUSSES = "drivers/i2c/busses"
#: Files of a host's driver, where it is not one that is named as the module is.
_FILES = {
    "amd-mp2": (f"{_BUSSES}/i2c-amd-mp2*.[ch]",),
    "at91": (f"{_BUSSES}/i2c-at91*.[ch]",),
    "qcom-geni": (
        f"{_BUSSES}/i2c-qcom-geni.c", "drivers/soc/qcom/qcom-geni-se.c", "include/linux/soc/qcom/geni-se.h",
    ),
    "stm32f4": (f"{_BUSSES}/i2c-stm32f4.c", f"{_BUSSES}/i2c-stm32.h"),
    # What it maps its buffers with is not named after it.
    "stm32f7": (f"{_BUSSES}/i2c-stm32f7.c", f"{_BUSSES}/i2c-stm32.[ch]"),
}  # fmt: skip


def _on_host(name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    known = [FINDINGS] if any(one.controller == name for one in _proofs()) else []
    return tuple((of, (name,)) for of in (HOSTS, LEAVING, *known))


@cache
def _proofs() -> tuple[Scenario, ...]:
    """What shows the findings in hosts' drivers: what a driver is known to get wrong, in a boot of its own."""
    suites = {*suite(HOSTS), *suite(LEAVING)}
    # What takes another command line is for "dmasafe findings" alone.
    proofs = [finding.proof for finding in load() if not finding.proof.cmdline]
    shown = [[parse_scenario(row.scenario) for row in proof.scenario] for proof in proofs]
    # What a suite has it has in an order of its own, since it may spoil what comes behind it.
    found = [one for mine in shown if not suites.issuperset(mine) for one in mine if one.controller in hosts()]
    return tuple(dict.fromkeys(found))


@cache
def rows() -> tuple[Row, ...]:
    """The table. A file may be in several rows."""
    bridges = [one for one in CONTROLLERS.values() if one.sources]
    return (
        Row(
            ("drivers/i2c/i2c-core*", "drivers/i2c/i2c-smbus.c", "include/linux/i2c.h", "include/linux/i2c-smbus.h",
             "include/uapi/linux/i2c.h", "drivers/i2c/Kconfig", "drivers/i2c/Makefile", "include/trace/events/i2c.h",
             "include/trace/events/smbus.h"),
            _CORE, "the I2C core: every call on every controller",
        ),
        Row(
            ("drivers/i2c/i2c-dev.c", "include/uapi/linux/i2c-dev.h"),
            _CORE, "i2c-dev: what user space asks for, on every controller",
        ),
        Row(
            ("kernel/dma/**", "include/linux/dma-*.h", "include/linux/swiotlb.h", "include/linux/scatterlist.h",
             "lib/scatterlist.c", "mm/dmapool.c", "arch/*/mm/dma*", "arch/*/kernel/pci-dma.c",
             "include/asm-generic/dma-mapping.h", "drivers/iommu/dma-iommu.[ch]"),
            _CORE, "the DMA API: what it maps, and what dma-debug reports",
        ),
        Row(
            ("drivers/i2c/busses/i2c-virtio.c", "include/uapi/linux/virtio_i2c.h", "drivers/virtio/**",
             "include/linux/virtio.h", "include/linux/virtio_config.h", "include/linux/virtio_pci_*.h",
             "include/linux/virtio_ring.h", "include/uapi/linux/virtio_ring.h"),
            _VIRTIO, "i2c-virtio: every call on it",
        ),
        *(
            Row(_FILES.get(name, (f"{_BUSSES}/{host.module}.c",)), _on_host(name),
                f"the host driver i2c-{name}: on its emulated hardware")
            for name, host in hosts().items()
        ),
        Row(("drivers/i2c/busses/i2c-i801.c",), (("upstream", ("i801",)),), "i2c-i801: every call on QEMU's own"),
        *(
            Row(files, (("upstream", (name,)),), f"the USB bridge {name}: every call on it")
            for name, files in ((one.name, one.sources) for one in bridges)
        ),
        Row(
            ("drivers/usb/core/hcd.c", "drivers/usb/core/message.c", "drivers/usb/core/buffer.c",
             "drivers/usb/core/urb.c", "drivers/usb/host/xhci*", "drivers/usb/host/ehci*", "include/linux/usb.h",
             "include/linux/usb/hcd.h"),
            (("upstream", tuple(one.name for one in bridges)),), "USB: the bridges behind it",
        ),
        *(
            Row(files, ((CLIENTS, (name,)),), f"the client driver {name}: from probe to removal")
            for name, files in ((name, client.files) for name, client in CLIENT_DRIVERS.items())
        ),
        Row(
            ("drivers/base/regmap/**", "include/linux/regmap.h", "drivers/spi/spi.c", "drivers/spi/spi-mem.c",
             "include/linux/spi/**", "drivers/mtd/spi-nor/**", "drivers/spmi/spmi.c", "drivers/slimbus/**",
             "drivers/w1/*"),
            (("buses", ()),), "regmap or another bus: every call on them",
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """``jobs`` in the order in which they are run; ``reasons`` has a sentence for each row that a file is in.

    ``checked`` are the files that only the source check looks at, ``nothing`` those that nothing does.
    """

    jobs: tuple[Job, ...]
    reasons: tuple[str, ...]
    checked: tuple[str, ...]
    nothing: tuple[str, ...]

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        return tuple(dict.fromkeys(job.cell for job in self.jobs))

    @staticmethod
    def chosen_by(job: Job, paths: Iterable[str]) -> bool:
        """Whether a commit that changes these files is a reason for a job."""
        return any(
            name == job.suite and (not only or not job.only or set(only) & set(job.only))
            for row in rows() if row.touched_by(paths) for name, only in row.runs
        )  # fmt: skip


def choose(
    paths: Iterable[str],
    arch: str,
    suites: Sequence[str] = (),
    configurations: Sequence[str] = (),
    architectures: Sequence[str] = (),
) -> Choice:
    """What is run for these files. ``suites`` come on top; the jobs are repeated in the cells of the others."""
    wanted: dict[str, set[str] | None] = {}
    reasons: list[str] = []
    known: set[str] = set()
    paths = list(paths)
    for row in rows():
        mine = row.touched_by(paths)
        if not mine:
            continue
        known.update(mine)
        more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
        told = ", ".join(f"{name} ({', '.join(only)})" if only else name for name, only in row.runs)
        reasons.append(f"{told}: {mine[0]}{more} is {row.why}")
        for name, only in row.runs:
            before = wanted.get(name, set())
            wanted[name] = None if before is None or not only else before | set(only)
    for name in suites:
        wanted[name] = None
        reasons.append(f"{name}: asked for by --suite")
    order = [SMOKE, "core", "faults", *_OF_HOSTS, CLIENTS, "upstream", "buses"]
    names = sorted(wanted, key=lambda name: order.index(name) if name in order else len(order))
    jobs = [
        Job(name, _home(name, where), where, only)
        for asked in (arch, *architectures) for name in names for where, only in _machines(name, asked, wanted[name])
    ]  # fmt: skip
    jobs += [replace(job, configuration=name) for name in configurations for job in jobs if job.configuration != name]
    code = [path for path in paths if path.endswith((".c", ".h"))]
    left = [path for path in paths if path not in known]
    return Choice(
        tuple(dict.fromkeys(jobs)),
        tuple(reasons),
        tuple(path for path in left if path in code),
        tuple(path for path in left if path not in code),
    )


def _home(name: str, arch: str) -> str:
    """The configuration that has what a suite runs on, the one with most of it."""
    architectures = load_matrix().configurations[IRQS].architectures
    return IRQS if name in _OF_HOSTS and arch in architectures else HOME.get(name, DEFAULT)


def _machines(name: str, arch: str, only: Iterable[str] | None) -> list[tuple[str, tuple[str, ...]]]:
    """On which architectures these controllers are run, or all: on ``arch``, if a machine of it shows them."""
    if name not in _OF_HOSTS:
        return [(arch, tuple(sorted(only or ())))]
    found: dict[str, list[str]] = {}
    for one in sorted(hosts() if only is None else only):
        machines = [architecture_of(machine) or arch for machine in hosts()[one].architectures]
        found.setdefault(arch if arch in machines else machines[0], []).append(one)
    return [(where, tuple(names) if only else ()) for where, names in found.items()]


def matches(path: str, pattern: str) -> bool:
    """Whether a shell pattern covers the whole path."""
    return _expression(pattern).fullmatch(path) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*|\*|\?|\[[^\]]*\])", pattern)
    return re.compile("".join(words.get(part, part if part.startswith("[") else re.escape(part)) for part in parts))
