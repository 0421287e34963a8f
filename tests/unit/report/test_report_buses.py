# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of who maps and who bounces: on its page, as expected, and from results."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmasafe.cli import buses_command
from dmasafe.cli.buses_command import CONFIGURATION, KERNEL
from dmasafe.facts import KernelInfo
from dmasafe.outcome import Judgement, Outcome, Splat, Verdict
from dmasafe.report import ReportError, json_report
from dmasafe.report.buses import Fate, expected, measured, table
from dmasafe.report.results import Results, Row
from dmasafe.scenario import parse_scenario
from dmasafe.targets.prepare import model_kernel

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def facts():
    return model_kernel(KERNEL, CONFIGURATION, "x86_64")[0]


def row(text, outcome=Outcome.SAFE, verdict=Verdict.PASS, direct=True, classes=()):
    splats = tuple(Splat(slug, None, None, "") for slug in classes)
    judgement = Judgement(verdict, outcome, outcome, "why", direct, splats)
    return Row.of(parse_scenario(text), judgement)


def results(*rows):
    kernel = KernelInfo("7.2.13", "x86_64", "upstream", "source")
    return Results("buses", "qemu", kernel, "tcg", True, tuple(rows), 1.0, 1.0, 2.0)


def test_the_page_has_the_table_that_is_expected(facts):
    page = (ROOT / "docs" / "buses.md").read_text()
    inside = page.partition("<!-- table: dmasafe buses -->\n")[2].partition("<!-- end of table -->")[0]
    assert inside.splitlines() == list(table(expected(facts)))


def test_every_word_of_the_table_is_explained_on_the_page(facts):
    page = (ROOT / "docs" / "buses.md").read_text()
    for fate in expected(facts).values():
        assert f"*{fate.text}*:" in page or fate.outcome is Outcome.CAUGHT


def test_what_was_measured_becomes_a_row():
    run = results(
        row("heap/regmap_raw_write/bus-spi/8"),
        row("stack/regmap_raw_write/bus-spi/8", Outcome.CAUGHT, classes=["map-stack", "map-stack"]),
        row("vmalloc/regmap_raw_write/bus-spi/8", direct=False),
        row("module-data/regmap_raw_write/bus-spi/8", Outcome.REFUSED, direct=None),
        row("heap/master_send/dmasafe:bounce/8"),
    )
    assert list(table(measured(run)))[2:] == [
        "| `bus-spi` | `regmap_raw_write` | mapped | `map-stack` | bounced | refused |"
    ]


def test_kinds_that_fare_differently_are_named():
    fates = {
        "heap/spi_read/bus-spi/8": Fate(Outcome.SAFE, (), True),
        "percpu/spi_read/bus-spi/8": Fate(Outcome.SAFE, (), False),
        "data/spi_read/bus-spi/8": Fate(Outcome.SILENT),
    }
    assert "mapped (heap); bounced (percpu); silent (data)" in list(table(fates))[2]


def test_lengths_that_fare_differently_both_show():
    fates = {
        "heap/mtd_read/bus-spi/32": Fate(Outcome.SAFE, (), True),
        "heap/mtd_read/bus-spi/256": Fate(Outcome.SAFE, (), False),
    }
    assert "mapped (heap); bounced (heap)" in list(table(fates))[2]


def test_a_failed_row_shows_what_was_measured_and_one_that_cannot_be_told_no_table():
    failed = row("heap/spi_read/bus-spi/8", Outcome.SILENT, Verdict.FAIL, None)
    assert measured(results(failed))["heap/spi_read/bus-spi/8"].text == "silent"
    doubtful = row("heap/spi_read/bus-spi/8", verdict=Verdict.INCONCLUSIVE)
    with pytest.raises(ReportError, match="heap/spi_read/bus-spi/8 the run cannot tell"):
        measured(results(doubtful))
    skipped = row("heap/spi_read/bus-spi/8", None, Verdict.SKIP, None)
    with pytest.raises(ReportError, match="no scenario of suite buses"):
        measured(results(skipped))


def test_the_command_reads_results(tmp_path):
    file = tmp_path / "results.json"
    json_report.write(results(row("heap/spi_read/bus-spi/8", direct=False)), file)
    done = CliRunner().invoke(buses_command.command, [str(file)])
    assert done.exit_code == 0 and "| `bus-spi` | `spi_read` | bounced |" in done.output


def test_the_command_has_the_table_of_a_kernel_that_nobody_built():
    done = CliRunner().invoke(buses_command.command, [])
    assert done.exit_code == 0 and done.output.startswith("| bus | call |")


def test_a_kernel_without_a_stack_in_vmalloc_space_has_another_table(facts):
    other = replace(facts, symbols=facts.symbols - {"VMAP_STACK"})
    assert expected(other)["heap/regmap_write/bus-spmi-base/1"].classes == ("map-stack",)
