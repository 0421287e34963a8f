# SPDX-License-Identifier: GPL-2.0-or-later
"""The strict machine on the real thing: every fault as expected, and what keeps the rules is left alone."""

import contextlib
import io
import json
import shutil

import pytest

from dmasafe.dmesg import parse_records
from dmasafe.guest.ssh import Address, SshLink, SshOptions
from dmasafe.kernel import DEFAULT_SOURCE
from dmasafe.outcome import Verdict
from dmasafe.progress import SILENT
from dmasafe.scenario import faults_suite, parse_scenario
from dmasafe.targets import wire
from dmasafe.targets.boot import Boot
from dmasafe.targets.machine import BoardGuest, board_image
from dmasafe.targets.prepare import prepare
from dmasafe.targets.session import STRICT_PARAMETERS
from tests.qemu import test_engine
from tests.qemu.built import needs
from tests.qemu.test_plugin import EXAMPLES, run_tests

pytestmark = needs("strict")
KEEPS_THE_RULES = ("heap/*/virtio/*", "struct-embedded/*/dmasafe:trusting/*")


@pytest.fixture(scope="module")
def rows(dmasafe, tmp_path_factory):
    out = tmp_path_factory.mktemp("strict")
    dmasafe("run", "--config", "strict", "--suite", "faults", "--results", out / "faults", check=0, timeout=1200)
    dmasafe("run", "--config", "strict", *KEEPS_THE_RULES, "--results", out / "rules", check=0)
    found = {}
    for run in ("faults", "rules"):
        results = json.loads((out / run / "latest" / "results.json").read_text())
        assert results["counts"]["fail"] == results["counts"]["inconclusive"] == 0
        found |= {row["id"]: row for row in results["scenarios"]}
    return found


def test_each_report_of_a_devices_own_doing_has_both_stacks(rows):
    row = rows["heap/master_recv_dmasafe/dmasafe:bounce/32+fault=unmap-early"]
    (splat,) = row["splats"]
    assert splat["class"] == "strict-unmapped" and splat["device"] == "0000:00:06.0"
    assert "payload_map" in splat["fields"]["mapped_at"] and "payload_unmap" in splat["fields"]["unmapped_at"]


def test_a_line_that_is_lost_is_reported_with_its_size(rows):
    row = rows["heap/master_recv/dmasafe:bounce/32+fault=write-beside"]
    (splat,) = row["splats"]
    assert (splat["class"], splat["fields"]["lost"], splat["fields"]["cacheline_size"]) == ("strict-line-lost", 8, 64)


def test_what_keeps_the_rules_is_not_reported(rows):
    kept = [row for id_, row in rows.items() if "fault=" not in id_ and row["buffer"] in ("heap", "struct-embedded")]
    assert len(kept) > 20 and all(row["splats"] == [] for row in kept)


class Guest:
    """A strict guest, and what it says of what is done to it."""

    def __init__(self, boot):
        self.boot = boot

    def said(self, act):
        """The splats of what ``act`` did until devices must be still."""
        before = len(self._records())
        act()
        assert self.boot.read(f"{STRICT_PARAMETERS}/settled") == "1"
        return parse_records(self._records()[before:])

    def _records(self):
        self.boot.request("kmsg")
        records = [record for records in self.boot.gathered.records.values() for record in records]
        return sorted(records, key=lambda record: int(record.split(",")[1]))

    def run(self, id_):
        scenario = parse_scenario(id_)
        line = wire.line(scenario, strict=True)
        rebind = {"rebind": 1} if scenario.fault is not None and scenario.fault.rebinds else {}
        asked = {"op": "run", "seq": 1, "adapter": "dmasafe", "set": wire.settings(scenario), "line": line, **rebind}
        self.boot.send(asked)
        return next(iter(self.boot.replies()))

    def refuse(self, dma, count=1):
        table = self.boot.read(f"{STRICT_PARAMETERS}/table")
        parameters = f"act=strict-refusals table={table} dma={dma:#x} count={count}"
        self.boot.hands.load("/modules/dmasafe_sabotage.ko", parameters)


@pytest.fixture
def strict(tmp_path):
    prepared = prepare(DEFAULT_SOURCE, "strict", "x86_64", None, SILENT, extra_modules="sabotage")
    with Boot(prepared.image, tmp_path, io.BytesIO()) as boot:
        boot.prepare()
        yield Guest(boot)


def test_a_device_that_writes_after_the_driver_lost_patience_is_named(strict):
    """Whoever waits for devices to be still has it in the log, though nobody else looks."""
    strict.boot.device.set_fault("dmasafe", "late-after-timeout")
    (splat,) = strict.said(lambda: strict.run("heap/master_recv_dmasafe/dmasafe:bounce/32"))
    assert splat.splat_class == "strict-unmapped" and "wrote to memory" in splat.message
    assert "payload_map" in splat.fields["mapped_at"] and "payload_unmap" in splat.fields["unmapped_at"]


def test_more_refusals_than_the_ring_holds_are_counted_as_lost(strict):
    splats = strict.said(lambda: strict.refuse(0x1000, 40))
    assert [splat.splat_class for splat in splats] == ["strict-unmapped"] * 31
    assert [splat.fields["device_address"] for splat in splats] == list(range(0x1009, 0x1028))
    assert strict.boot.read(f"{STRICT_PARAMETERS}/unread") == "9"


def test_what_a_device_does_that_is_gone_is_reported_by_its_name(strict):
    leak = strict.said(lambda: strict.run("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=leak-coherent"))[-1]
    assert leak.splat_class == "strict-leak"
    removed = {"path": f"/sys/bus/pci/devices/{leak.device}/remove", "data": "1"}
    strict.said(lambda: strict.boot.request("write", **removed))
    assert strict.boot.read(f"/sys/bus/pci/devices/{leak.device}/vendor") is None
    (splat,) = strict.said(lambda: strict.refuse(leak.fields["device_address"]))
    assert (splat.splat_class, splat.driver, splat.device) == ("strict-unmapped", None, leak.device)
    assert splat.fields["mapped_at"] == leak.fields["mapped_at"]


def test_the_plugins_guest_is_strict_unless_it_is_told_otherwise(tmp_path):
    """What the driver keeps beside its buffer is lost when it is written while the device has the buffer."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "test_here.py").write_text(
        "def test_here(dmasafe_target):\n"
        "    assert dmasafe_target.kernel.config == 'default+strict'\n"
        "    row = dmasafe_target.run('heap/master_recv/dmasafe:bounce/32+fault=write-beside')\n"
        "    assert [splat.splat_class for splat in row.splats] == ['strict-line-lost']\n"
    )
    cases, output = run_tests(tmp_path)
    assert len(cases) == 4 and {outcome for outcome, _ in cases.values()} == {"passed"}, output


def test_an_engine_in_the_kernel_is_as_strict_as_emulated_hardware(tmp_path):
    """So a board can be strict, that has no such hardware."""
    prepared = prepare(DEFAULT_SOURCE, "strict", "x86_64", None, SILENT)
    wanted = [scenario for scenario in faults_suite() if scenario.fault is None or not scenario.fault.spends_boot]
    wanted += map(parse_scenario, ("heap/master_recv/dmasafe:trusting/32", "stack/master_send/dmasafe:trusting/32"))
    _, judged = test_engine.run(prepared, wanted, tmp_path)
    wrong = {id_: found.why for id_, found in judged.items() if found.verdict is not Verdict.PASS}
    assert len(judged) > 60 and all(map(test_engine.leaks, wrong))
    # Of the platform bus dma-debug knows nothing.
    left = [found for id_, found in judged.items() if test_engine.leaks(id_)]
    assert len(left) == 3
    for found in left:
        assert {splat.splat_class for splat in found.splats} in ({"strict-leak"}, {"strict-leak", "strict-freed"})


@needs("upstream-strict")
def test_a_board_can_be_strict(dmasafe, tmp_path):
    """By the controller's engine in its kernel; and it is left as it was."""
    image = board_image(SILENT, "x86_64", DEFAULT_SOURCE, "upstream-strict")
    fault = "heap/master_recv_dmasafe/dmasafe:bounce/32+fault="
    wanted = {f"{fault}unmap-early": "strict-unmapped", f"{fault}device-overrun": "strict-overrun"}
    kept = ("heap/master_*/dmasafe:bounce/32", "struct-embedded/master_*/dmasafe:trusting/32")
    with BoardGuest(image, tmp_path) as guest:
        arguments = ["--target", f"ssh:root@{guest.host}:{guest.port}", "--kdir", image.build.build_dir, "--strict"]
        arguments += ["--identity", guest.identity, "--known-hosts", guest.known_hosts, "--results", tmp_path]
        dmasafe("run", *arguments, *wanted, *kept, check=0, timeout=600)
        options = SshOptions(guest.known_hosts, guest.identity)
        with contextlib.closing(SshLink(Address(guest.host, "root", guest.port), options)) as link:
            assert "dmasafe" not in link.command("cat /proc/modules").output
    found = {row["id"]: row for row in json.loads((tmp_path / "latest" / "results.json").read_text())["scenarios"]}
    assert len(found) > 8
    for id_, row in found.items():
        assert [splat["class"] for splat in row["splats"]] == ([wanted[id_]] if id_ in wanted else [])


@needs("upstream-strict")
def test_other_buses_and_usb_hosts_are_strict_and_keep_the_rules(dmasafe, tmp_path):
    """The SPI core maps without a sync, and syncs by itself; xHCI and EHCI know of no table."""
    wanted = ("heap/spi_*/bus-spi*/*", "stack/spi_write/bus-spi*/*", "heap/mtd_*/bus-spi-mem/*", "heap/*/osif*/32")
    dmasafe("run", "--config", "upstream-strict", *wanted, "--results", tmp_path, check=0, timeout=600)
    rows = json.loads((tmp_path / "latest" / "results.json").read_text())["scenarios"]
    found = {(row["buffer"], row["controller"]): {splat["class"] for splat in row["splats"]} for row in rows}
    assert found["heap", "bus-spi"] == found["heap", "bus-spi-mem"] == found["heap", "osif-ehci"] == set()
    assert found["stack", "bus-spi"] == {"strict-memory"}


@needs("upstream-strict")
def test_the_bytes_that_elants_i2c_loses_are_shown(dmasafe, tmp_path):
    file = tmp_path / "findings.json"
    arguments = ("elants-waiter-on-dma-line", "--kernel", DEFAULT_SOURCE, "--json", file)
    dmasafe("findings", *arguments, check=0, timeout=600)
    (row,) = json.loads(file.read_text())["findings"]
    (lost,) = (splat for splat in row["splats"] if splat["class"] == "strict-line-lost")
    assert row["reproduced"] and "elants_i2c_irq" in lost["fields"]["mapped_at"] and lost["fields"]["lost"] > 8
