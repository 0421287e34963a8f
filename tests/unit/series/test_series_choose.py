# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file is a reason to run, and that every name in the table is one."""

import re

import pytest

from dmasafe import kernel as kernels
from dmasafe.carriers import CONTROLLERS
from dmasafe.devices.hosts import hosts
from dmasafe.expect.client_drivers import CLIENT_DRIVERS
from dmasafe.findings.catalogue import load
from dmasafe.scenario import SUITES
from dmasafe.series.choose import CLIENTS, FINDINGS, Job, choose, matches, rows


def jobs(*paths, **more):
    return [(job.suite, job.configuration, job.only) for job in choose(paths, "x86_64", **more).jobs]


CORE = [("smoke", "default", ()), ("core", "default", ()), ("faults", "default", ())]

# Of the others' drivers no finding is shown by what a suite lacks, on the usual command line.
WITHOUT_FINDINGS = {"imx-lpi2c", "ismt", "mt65xx", "qcom-geni", "stm32f4", "tegra"}
# They take a command line of their own.
NOT_SHOWN = {
    "lpi2c-command-buffer-freed-twice",
    "amd-mp2-frees-under-dma",
    "mt65xx-frees-under-dma",
    "ismt-maps-too-little",
}


def host(*names, configuration="hosts-irqs"):
    """The jobs of hosts: every call, the driver unbound beside one, and what it is known to get wrong."""
    known = tuple(name for name in names if name not in WITHOUT_FINDINGS)
    return [(suite, configuration, names) for suite in ("hosts", "hosts-leaving")] + [
        ("findings", configuration, known)
    ] * bool(known)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("drivers/i2c/i2c-core-smbus.c", CORE),
        ("include/linux/i2c.h", CORE),
        ("drivers/i2c/i2c-dev.c", CORE),
        ("kernel/dma/debug.c", CORE),
        ("kernel/dma/some/where.c", CORE),
        ("include/linux/dma-mapping.h", CORE),
        ("drivers/i2c/busses/i2c-virtio.c", [("smoke", "default", ()), ("core", "default", ("virtio",))]),
        ("drivers/i2c/busses/i2c-mt65xx.c", host("mt65xx")),
        ("drivers/i2c/busses/i2c-stm32f7.c", host("stm32f7")),
        ("drivers/i2c/busses/i2c-stm32.c", host("stm32f7")),
        ("drivers/soc/qcom/qcom-geni-se.c", host("qcom-geni")),
        ("include/linux/soc/qcom/geni-se.h", host("qcom-geni")),
        ("drivers/i2c/busses/i2c-i801.c", [("upstream", "upstream", ("i801",))]),
        ("drivers/i2c/Kconfig", CORE),
        ("include/linux/virtio_ring.h", [("smoke", "default", ()), ("core", "default", ("virtio",))]),
        ("drivers/i2c/busses/i2c-at91-master.c", host("at91")),
        ("drivers/i2c/busses/i2c-imx.c", host("imx")),
        ("drivers/i2c/busses/i2c-imx-lpi2c.c", host("imx-lpi2c")),
        ("drivers/i2c/busses/i2c-stm32.h", host("stm32f4", "stm32f7")),
        ("drivers/i2c/busses/i2c-amd-mp2-pci.c", host("amd-mp2", configuration="hosts")),
        ("drivers/i2c/busses/i2c-sh_mobile.c", host("sh-mobile")),
        ("drivers/i2c/busses/i2c-tegra-bpmp.c", []),
        ("drivers/i2c/busses/i2c-robotfuzz-osif.c", [("upstream", "upstream", ("osif", "osif-ehci"))]),
        ("drivers/iio/potentiometer/ad5110.c", [("clients", "upstream", ("ad5110",))]),
        ("drivers/rtc/rtc-ds1307.c", [("clients", "upstream", ("ds1307",))]),
        ("drivers/mfd/dln2.c", [("upstream", "upstream", ("dln2",))]),
        ("drivers/hid/i2c-hid/i2c-hid-core.c", [("clients", "upstream", ("i2c_hid_of",))]),
        ("drivers/base/regmap/regmap-i2c.c", [("buses", "upstream", ())]),
        ("drivers/spi/spi.c", [("buses", "upstream", ())]),
        ("drivers/spi/spi-bcm2835.c", []),
        ("drivers/gpu/drm/drm_edid.c", []),
        ("Documentation/i2c/index.rst", []),
    ],
)  # fmt: skip
def test_a_file_is_a_reason(path, wanted):
    assert jobs(path) == wanted


@pytest.mark.parametrize("name", hosts())
def test_a_host_driver_is_a_reason_for_its_own_suite(name):
    found = choose([f"drivers/i2c/busses/i2c-{name.replace('sh-', 'sh_').replace('mp2', 'mp2-plat')}.c"], "x86_64").jobs
    assert {job.only for job in found} == {(name,)} and found[0].suite == "hosts"


@pytest.mark.parametrize("path", ["drivers/usb/core/urb.c", "drivers/usb/host/ehci-q.c", "include/linux/usb/hcd.h"])
def test_usb_is_a_reason_for_every_bridge(path):
    ((suite, _, only),) = jobs(path)
    assert suite == "upstream" and {"osif", "osif-ehci", "viperboard"} <= set(only)


@pytest.mark.parametrize(
    "finding",
    [one for one in load() if one.patch is not None and one.proof.rows and one.id not in NOT_SHOWN],
    ids=lambda one: one.id,
)
def test_who_corrects_a_finding_is_shown_it(finding):
    text = "".join(path.read_text() for path in finding.patches(""))
    found = choose(re.findall(r"^[+]{3} b/(\S+)", text, re.MULTILINE), "x86_64").jobs
    shown = {(one.id, job.configuration.removesuffix("-irqs")) for job in found for one in job.scenarios()}
    # The core suite has 32 bytes for 64.
    wanted = {re.sub(r"(/virtio/|=r)64", r"\g<1>32", row.scenario) for row in finding.proof.rows}
    home = finding.proof.config.removesuffix("-strict-128").removesuffix("-irqs")
    assert {(id_, home) for id_ in wanted} <= shown


def test_what_nothing_here_runs_is_said():
    found = choose(["Documentation/a.rst", "drivers/x.c", "drivers/i2c/i2c-dev.c"], "x86_64")
    assert (found.nothing, found.checked) == (("Documentation/a.rst",), ("drivers/x.c",))
    assert found.reasons == (
        "smoke, core, faults: drivers/i2c/i2c-dev.c is i2c-dev: what user space asks for, on every controller",
    )


def test_hosts_of_a_series_come_together():
    one, two = "drivers/i2c/busses/i2c-mt65xx.c", "drivers/i2c/busses/i2c-rcar.c"
    assert jobs(one, two) == host("mt65xx", "rcar")
    # All of a suite is more than a part of it.
    found = choose([one], "x86_64", suites=["hosts"]).jobs
    assert [(job.arch, job.suite, job.only) for job in found] == [
        ("x86_64", "hosts", ()), ("arm64", "hosts", ()), ("arm64", "hosts-leaving", ("mt65xx",)),
    ]  # fmt: skip


def test_a_host_is_run_where_a_machine_can_show_it():
    one, two = "drivers/i2c/busses/i2c-mt65xx.c", "drivers/i2c/busses/i2c-ismt.c"
    found = [job for job in choose([one, two], "x86_64").jobs if job.suite == "hosts"]
    assert [(job.configuration, job.arch, job.only) for job in found] == [
        ("hosts", "x86_64", ("ismt",)), ("hosts-irqs", "arm64", ("mt65xx",)),
    ]  # fmt: skip
    # None has both, and riscv64 has neither.
    for more in ([], ["arm64"], ["riscv64"]):
        assert choose([one], "arm64", architectures=more).cells == (("hosts-irqs", "arm64"),)
        assert choose([two], "x86_64", architectures=more).cells == (("hosts", "x86_64"),)


@pytest.mark.parametrize("order", [1, -1])
def test_all_of_a_suite_is_run_where_one_file_asks_for_a_part(monkeypatch, order):
    found = rows()[::order]
    monkeypatch.setattr("dmasafe.series.choose.rows", lambda: found)
    assert jobs("drivers/i2c/busses/i2c-virtio.c", "drivers/i2c/i2c-dev.c") == CORE


def test_suites_configurations_and_architectures_add():
    path = "drivers/rtc/rtc-ds1307.c"
    assert jobs(path, suites=["smoke"]) == [("smoke", "default", ()), (CLIENTS, "upstream", ("ds1307",))]
    assert jobs("drivers/i2c/i2c-dev.c", configurations=["strict"])[3:] == [(one, "strict", ()) for one, *_ in CORE]
    found = choose(["drivers/i2c/i2c-dev.c"], "x86_64", architectures=["arm64", "x86_64"])
    assert [job.arch for job in found.jobs] == ["x86_64"] * 3 + ["arm64"] * 3
    assert found.cells == (("default", "x86_64"), ("default", "arm64"))


def test_a_commit_is_a_reason_for_a_job_or_not():
    found = choose([], "x86_64")
    hosts_job = Job("hosts", "hosts", "x86_64", ("mt65xx",))
    assert found.chosen_by(hosts_job, ["drivers/i2c/busses/i2c-mt65xx.c"])
    assert not found.chosen_by(hosts_job, ["drivers/i2c/busses/i2c-rcar.c", "drivers/i2c/i2c-dev.c"])
    # A row for all of a suite is a reason for a part of it, and a row for a part one for all.
    core = "drivers/i2c/i2c-core-base.c"
    assert found.chosen_by(Job("core", "default", "x86_64", ("virtio",)), [core])
    assert found.chosen_by(Job("core", "default", "x86_64"), ["drivers/i2c/busses/i2c-virtio.c"])


def test_of_a_job_only_what_it_names_is_run():
    for name, suite in (("virtio", "core"), ("mt65xx", "hosts"), ("at91", FINDINGS)):
        assert {one.controller for one in Job(suite, "hosts", "x86_64", (name,)).scenarios()} == {name}
        assert len({one.controller for one in Job(suite, "hosts", "x86_64").scenarios()}) > 1
    assert {one.id.split("/")[0] for one in Job(CLIENTS, "upstream", "x86_64", ("ad5110",)).scenarios()} == {"ad5110"}


def test_every_name_in_the_table_is_one():
    only = {name: set() for name in (*SUITES, CLIENTS, FINDINGS)}
    for row in rows():
        for name, names in row.runs:
            only[name] |= set(names)
    assert only["hosts"] == only["hosts-leaving"] == set(hosts())
    assert only[FINDINGS] == set(hosts()) - WITHOUT_FINDINGS
    assert only[CLIENTS] == set(CLIENT_DRIVERS)
    assert only["upstream"] | only["core"] <= set(CONTROLLERS)
    paths = [row.files[0].replace("**", "x").replace("*", "").replace("[ch]", "c") for row in rows()]
    jobs = {job for path in paths for job in choose([path], "x86_64").jobs}
    assert {job.configuration for job in jobs} <= kernels.load_matrix().configurations.keys()
    assert [job.name for job in jobs if not job.scenarios()] == []


def test_a_star_stays_in_its_directory():
    assert matches("drivers/i2c/i2c-core-base.c", "drivers/i2c/i2c-core*")
    assert not matches("drivers/i2c/busses/i2c-rcar.c", "drivers/i2c/*")
    assert matches("a/b/c.h", "a/**") and matches("a.h", "a.[ch]") and not matches("a.hh", "a.[ch]")
