# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/controllers.md: as the policies have them, and from results."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dmasafe.cli import controllers_command
from dmasafe.facts import KernelInfo
from dmasafe.outcome import Judgement, Outcome, Splat, Verdict
from dmasafe.report import ReportError, json_report
from dmasafe.report.controllers import by_measurement, by_reading, each_driver, policies
from dmasafe.report.results import Results, Row
from dmasafe.vocabulary import Scenario

PAGE = Path(__file__).parents[3] / "docs" / "controllers.md"


def row(text, outcome=Outcome.SAFE, verdict=Verdict.PASS, direct=True, classes=()):
    splats = tuple(Splat(slug, None, None, "") for slug in classes)
    kind, operation, controller, length = text.split("/")
    scenario = Scenario(kind, operation, controller, None, int(length))
    return Row.of(scenario, Judgement(verdict, outcome, outcome, "why", direct, splats))


def results(*rows):
    kernel = KernelInfo("7.3.4", "aarch64", "hosts", "source")
    return Results("hosts", "qemu", kernel, "tcg", True, tuple(rows), 1.0, 1.0, 2.0)


@pytest.mark.parametrize(("command", "lines"), [("controllers", by_reading), ("controllers --lines", each_driver)])
def test_the_page_has_what_was_read(command, lines):
    inside = PAGE.read_text().partition(f"<!-- table: dmasafe {command} -->\n")[2].partition("<!-- end of table -->")[0]
    assert inside.split() == "\n".join(lines()).split()


def test_sixteen_drivers_are_on_the_page():
    assert len(policies()) == 16


def test_a_driver_that_changed_has_both_ways():
    found = next(line for line in by_reading() if line.startswith("| [stm32f7]"))
    assert "6.12: PIO, **maps it** from 22 bytes; 7.3: PIO, helper from 22 bytes" in found


def test_a_driver_without_i2c_transfers_has_its_row():
    (found,) = list(by_measurement([results(row("user/i2cdev_smbus/ismt/1"))]))[2:]
    assert found.startswith("| `ismt` | 7.3.4 | SMBus calls only |") and found.endswith("| 1 of 1 |")


def test_lengths_that_fare_alike_share_a_cell():
    run = results(
        row("heap/master_send/rcar/1", direct=None),
        row("heap/master_send/rcar/8", direct=None),
        row("heap/master_send_dmasafe/rcar/7", direct=None),
        row("heap/master_send_dmasafe/rcar/8"),
        row("stack/master_send_dmasafe/rcar/8", Outcome.CAUGHT, classes=["map-stack"]),
        row("heap/master_send/virtio/8"),
    )
    (found,) = list(by_measurement([run]))[2:]
    assert found.split(" | ")[:6] == [
        "| `rcar`", "7.3.4", "not by DMA", "not by DMA (7); mapped (8)", "", "`map-stack`"
    ]  # fmt: skip


def test_a_row_says_how_much_happened_as_read_and_shows_no_more():
    run = results(
        row("heap/master_send/rcar/1", direct=None),
        row("heap/master_recv/rcar/1", Outcome.REFUSED, Verdict.FAIL),
        row("heap/master_send/rcar/7", Outcome.REFUSED, Verdict.INCONCLUSIVE),
        row("kmap/master_send/rcar/7", verdict=Verdict.SKIP),
    )
    (found,) = list(by_measurement([run]))[2:]
    assert found.startswith("| `rcar` | 7.3.4 | not by DMA |") and found.endswith(" | 1 of 2, 1 cannot be told |")


def test_results_of_another_suite_have_no_row():
    with pytest.raises(ReportError, match="no scenario of suite hosts"):
        list(by_measurement([results(row("heap/master_send/virtio/8"))]))


def test_the_command_reads_results(tmp_path):
    file = tmp_path / "results.json"
    json_report.write(results(row("heap/master_send/rcar/1", direct=None)), file)
    done = CliRunner().invoke(controllers_command.command, [str(file), "--format", "markdown"])
    assert done.exit_code == 0
    assert "| `rcar` | 7.3.4 | not by DMA |" in done.output
