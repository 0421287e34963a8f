# SPDX-License-Identifier: GPL-2.0-or-later
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog

from dmasafe.audit import judge, parse
from dmasafe.outcome import Frame, Splat
from dmasafe.report.audit import lines, status, table, to_json, to_sarif
from dmasafe.report.console import console_for

RECORDED = Path(__file__).parents[2] / "fixtures/audit/recorded-6.12-thermo-and-at24.json"
RECORD = parse(RECORDED.read_text())
JUDGEMENT = judge(RECORD, "6.12.117")
SPLAT = Splat("map-stack", "dev", "drv", "maps memory from stack")


def with_frame(record, frame):
    kinds = tuple(replace(kind, frames=(frame,), caller=0) for kind in record.kinds)
    return replace(record, kinds=kinds)


def printed(record, judgement, splats=()):
    stream = io.StringIO()
    console = console_for(stream)
    console.print(table(record, judgement))
    for line in lines(record, judgement, splats, strict=False):
        console.print(line, soft_wrap=True)
    return stream.getvalue()


def test_the_table_names_caller_and_rule_and_the_end_says_what_was_seen():
    text = printed(RECORD, JUDGEMENT)
    assert "temperature_show+0x45" in text and "flagged-unsafe" in text
    assert "8 messages in 5 transfers (0 failed), 5 kinds of message, 2 findings" in text
    assert text.rstrip().endswith("FAIL: flagged-unsafe: temperature_show+0x45 [thermo] (1-0030 dmasafe_controller)")


def test_a_clean_audit_passes_and_one_that_cannot_be_trusted_does_not():
    clean = replace(RECORD, kinds=RECORD.kinds[2:], messages=6)
    assert printed(clean, judge(clean, "6.12")).rstrip().endswith("PASS: nothing found but notes")
    judgement = judge(clean, "6.12", bounce_bytes=129)
    assert printed(clean, judgement).rstrip().endswith("PASS: nothing found")
    lost = replace(clean, lost=1, messages=7)
    text = printed(lost, judge(lost, "6.12"))
    assert "INCONCLUSIVE: 1 of 7" in text and "PASS" not in text


def test_the_kernels_own_report_is_a_finding():
    clean = replace(RECORD, kinds=RECORD.kinds[2:], messages=6)
    judgement = judge(clean, "6.12")
    assert status(judgement, [SPLAT], strict=False) == 1 and status(judgement, [], strict=False) == 0
    text = printed(clean, judgement, [SPLAT, SPLAT])
    assert "0 findings" not in text and "1 other report of the kernel's" in text
    # A note is no reason to fail: the end names the report, with its driver.
    assert text.rstrip().endswith("FAIL: the kernel reported map-stack: drv dev: maps memory from stack")


def test_what_the_kernel_reports_of_a_finding_is_told_with_it_and_counts_once():
    splat = replace(SPLAT, frames=(JUDGEMENT.findings[0].kind.blamed,))
    text = printed(RECORD, JUDGEMENT, [splat])
    assert "the kernel reported it too: map-stack: drv dev: maps memory from stack" in text
    assert "2 findings" in text and "other report" not in text


def test_a_command_that_the_bug_made_fail_does_not_hide_the_bug():
    record = replace(RECORD, incomplete=("the command ended with status 1: what it left undone was not audited",))
    judgement = judge(record, "6.12.117")
    text = printed(record, judgement)
    assert status(judgement, [], strict=False) == 1
    assert "note: the command ended with status 1" in text and "INCONCLUSIVE" not in text
    assert text.rstrip().splitlines()[-1].startswith("FAIL: flagged-unsafe: ")


def test_sarif_points_at_the_callers_line_and_a_schema_validator_takes_it():
    record = with_frame(RECORD, Frame("probe", 4, 8, "thermo", file="drivers/thermo.c", line=21))
    document = json.loads(to_sarif(judge(record, "6.12.117")))
    SarifLog.model_validate(document)
    (run,) = document["runs"]
    place = run["results"][0]["locations"][0]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "drivers/thermo.c", "uriBaseId": "SRCROOT"},
        "region": {"startLine": 21},
    }
    assert place["logicalLocations"] == [{"name": "probe", "fullyQualifiedName": "thermo:probe"}]
    assert all(run["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])
    assert run["invocations"][0]["executionSuccessful"] is True


@pytest.mark.parametrize("frames", [(), (Frame("0xffffffff81000000"),)])
def test_a_caller_without_a_name_is_no_obstacle(frames):
    kinds = tuple(replace(kind, frames=frames, caller=0) for kind in RECORD.kinds)
    record = replace(RECORD, kinds=kinds, lost=1, messages=9)
    document = json.loads(to_sarif(judge(record, "6.12")))
    SarifLog.model_validate(document)
    assert document["runs"][0]["invocations"][0]["executionSuccessful"] is False
    assert "flagged-unsafe" in printed(record, judge(record, "6.12"))


def test_json_holds_the_record_and_points_findings_at_it():
    document = json.loads(to_json(RECORD, JUDGEMENT, [SPLAT], {"release": "6.12.117"}, strict=False))
    assert document["status"] == 1 and document["counts"]["messages"] == 8
    flagged = next(finding for finding in document["findings"] if finding["rule"] == "flagged-unsafe")
    assert document["messages"][flagged["message"]]["memory_class"] == "stack"
    assert document["splats"][0]["class"] == "map-stack"


def test_a_kernel_cannot_forge_markup_or_move_the_cursor():
    record = with_frame(RECORD, Frame("[bold]x\x1b[2J\nPASS", module="m"))
    text = printed(record, judge(record, "6.12"))
    assert "\x1b" not in text and "[bold]x" in text and "\nPASS" not in text
