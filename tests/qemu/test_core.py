# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job on a real kernel: what the core suite must show."""

import errno
import io
import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import pytest

from dmasafe.progress import SILENT
from dmasafe.report.json_report import SCHEMA_FILE
from dmasafe.scenario import core_suite, parse_scenario
from dmasafe.targets.boot import Boot
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.session import borrowed_objects


@pytest.fixture(scope="module")
def rows(core):
    return {row["id"]: row for row in core[0]["scenarios"]}


def test_the_whole_suite_is_judged_and_nothing_fails(core):
    results, _ = core
    counts = results["counts"]
    assert len(results["scenarios"]) == len(core_suite()) >= 1000
    assert counts["fail"] == counts["error"] == counts["inconclusive"] == 0
    assert counts["pass"] >= 1000
    assert results["canary"]["splatted"] is True
    jsonschema.validate(results, json.loads(SCHEMA_FILE.read_text()))


def test_every_outcome_really_happened(rows):
    assert {row["outcome"] for row in rows.values()} == {"SAFE", "CAUGHT", "SILENT", "REFUSED", None}


@pytest.mark.parametrize(
    ("scenario", "outcome", "direct", "classes"),
    [
        ("stack/master_send_dmasafe/dmasafe:bounce/8", "CAUGHT", None, {"map-vmalloc-rejected"}),
        ("stack/master_send/dmasafe:bounce/8", "SAFE", False, set()),
        ("heap/master_send_dmasafe/dmasafe:bounce/8", "SAFE", True, set()),
        ("heap/master_recv_dmasafe/virtio/256", "SAFE", True, set()),
        ("heap/master_send/virtio/8", "SAFE", False, set()),
        ("module-rodata/master_send_dmasafe/dmasafe:bounce/8", "CAUGHT", None, {"map-invalid-area"}),
        ("stack/master_send_dmasafe/virtio/8", "SILENT", None, set()),
        ("rodata/master_recv_dmasafe/dmasafe:trusting/32", "SILENT", True, set()),
        ("rodata/master_recv/dmasafe:pio/32", "CAUGHT", False, {"other"}),
        ("coherent/master_recv_dmasafe/dmasafe:bounce/8", "CAUGHT", True, {"cacheline-overlap"}),
        ("user/i2cdev_write/dmasafe:bounce/8@77", "REFUSED", None, set()),
    ],
)
def test_each_outcome_has_the_right_reason(rows, scenario, outcome, direct, classes):
    row = rows[scenario]
    assert (row["outcome"], row["verdict"]) == (outcome, "PASS")
    assert {splat["class"] for splat in row["splats"]} == classes
    if outcome == "SAFE":
        assert row["direct"] is direct


def test_the_device_saw_the_stray_dma_that_the_kernel_reported(guest, tmp_path):
    # The splat alone does not prove it: the mapping succeeds and the device is sent to the nonsense address.
    scenario = parse_scenario("module-rodata/master_send_dmasafe/dmasafe:bounce/8")
    target = QemuTarget(guest.image, guest.kernel, guest.facts, tmp_path)
    run = target.run([scenario], frozenset(), SILENT)
    seen = run.observations[scenario.id]
    assert {splat.splat_class for splat in seen.splats} == {"map-invalid-area"}
    (message,) = seen.bus
    (segment,) = message.segments
    assert segment.stray and segment.length == 8 and segment.address >= guest.image.memory_mib << 20
    assert not message.ok and message.data == b""
    told = run.facts.running
    assert told.memory[-1].stop == guest.image.memory_mib << 20 and told.dma_alignment == 1
    # QEMU 7.2's; later ones have no fewer.
    assert told.queue_entries >= 4


def test_the_talks_claim_about_i2c_dev_is_measured(rows):
    """I2C_RDWR is marked and arrives direct; read() and write() are not, and are bounced."""
    rdwr = [row for id_, row in rows.items() if id_.startswith("user/i2cdev_rdwr/dmasafe:bounce/8+")]
    assert rdwr and all(row["direct"] is True for row in rdwr)
    for operation in ("i2cdev_read", "i2cdev_write"):
        assert rows[f"user/{operation}/dmasafe:bounce/8"]["direct"] is False


def test_reports_have_hardly_any_lines_for_function_pointers_on_our_own_stack(core):
    # Where a function begins, the one before it ends: "? bounce_get+0x30/0x30". Four such lines cost a plain transfer.
    # An interrupt at the call of such a function leaves its registers on the stack, and so a line now and then.
    results, latest = core
    log = (latest / "kmsg.log").read_text(encoding="latin-1")
    lines = re.findall(r"; \? (\w+\+(0x\w+)/\2) \[dmasafe_\w+\]", log)
    assert "[dmasafe_controller]" in log and len(lines) < len(results["scenarios"]) / 20, lines[:10]


def test_the_client_module_believes_no_address_without_asking_the_kernel(guest, tmp_path):
    symbols = guest.image.symbols
    with Boot(guest.image, tmp_path, io.BytesIO()) as boot:
        for wrong in ({"argv_init": symbols["argv_init"] + 0x1000}, {"kernel_config_data": symbols["argv_init"]}):
            words = borrowed_objects({**symbols, "kernel_config_data_end": (1 << 64) - 1, **wrong})
            reply = boot.request("load", path="/modules/dmasafe_client.ko", params=f"{words} guessed=1")
            assert reply["errno"] == errno.ESTALE
        boot.prepare()
        assert boot.read("/sys/module/dmasafe_client/parameters/guessed") == "Y"


def test_kmap_is_skipped_with_its_reason(rows):
    skipped = {row["buffer"]: row["why"] for row in rows.values() if row["verdict"] == "SKIP"}
    assert skipped.keys() == {"kmap"} and "HIGHMEM" in skipped["kmap"]


def test_all_five_files_agree(core):
    results, latest = core
    total = len(results["scenarios"])
    assert len(list(ET.parse(latest / "junit.xml").iter("testcase"))) == total
    points = [line for line in (latest / "results.ktap").read_text().splitlines() if line.startswith("    ")]
    assert sum(line.lstrip().startswith(("ok ", "not ok ")) for line in points) == total
    kmsg = (latest / "kmsg.log").read_text(errors="replace")
    assert "Linux version" in kmsg and "rejecting DMA map of vmalloc memory" in kmsg
    # However busy this machine is (qemu/clock.py).
    assert "Marking TSC unstable" not in kmsg and "PIT calibration" not in kmsg
    assert (latest / "console.log").exists()
