# SPDX-License-Identifier: GPL-2.0-or-later
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog

from dmasafe.dmesg import parse_path
from dmasafe.outcome import Splat
from dmasafe.report.console import console_for
from dmasafe.report.splats import grouped, table, to_json, to_ktap, to_sarif

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "dmesg").glob("*.log"))
HOSTILE = Splat("other", "[bold]dev", None, "WARNING \x1b[31m <script>\n1..9\nok 5 # SKIP", log_line=3)


@pytest.mark.parametrize("log", FIXTURES, ids=lambda log: log.stem)
def test_every_fixture_gives_sarif_that_a_schema_validator_takes(log):
    splats = list(parse_path(log))
    document = json.loads(to_sarif(splats, log.name))
    SarifLog.model_validate(document)
    run = document["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == [splat.splat_class for splat in splats]
    assert all(run["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])


def test_a_result_points_into_the_source_where_the_log_knows_it_and_into_the_log_otherwise():
    known = next(s for log in FIXTURES for s in parse_path(log) if s.file and not s.file.endswith(".h"))
    unknown = Splat("map-stack", "dev", "drv", "device driver maps memory from stack", log_line=7)
    document = json.loads(to_sarif([unknown], "dmesg.txt"))
    place = document["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "dmesg.txt"}, "region": {"startLine": 7}}
    assert known.line is not None


def test_json_is_the_contracts_list():
    (row,) = json.loads(to_json([HOSTILE]))
    assert row.keys() == {
        "class", "device", "driver", "message", "fields", "file", "line", "function", "frames", "log_line", "truncated",
    }  # fmt: skip


def test_a_log_cannot_forge_a_ktap_result_or_markup():
    lines = to_ktap([HOSTILE]).splitlines()
    assert lines[:2] == ["KTAP version 1", "1..1"]
    assert [line for line in lines if line.startswith(("ok", "not ok"))] == ["not ok 1 other"]
    stream = io.StringIO()
    console_for(stream).print(table([HOSTILE]))
    assert "[bold]dev" in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_clean_log_is_one_passed_test():
    assert to_ktap([]).splitlines() == ["KTAP version 1", "1..1", "ok 1 no_splat"]


def test_splats_of_one_class_and_culprit_are_one_row_with_a_count():
    (known,) = (s for log in FIXTURES if log.stem == "synthetic-6.12-map-stack" for s in parse_path(log))
    many = [replace(known, log_line=line, device=f"dev{line % 3}") for line in range(10, 456)]
    other = replace(HOSTILE, message="BUG: something at 0x12345678")
    groups = grouped([*many, other, replace(other, message="BUG: something at 0x9abcdef0")])
    assert [len(group) for group in groups] == [446, 2]
    stream = io.StringIO()
    console_for(stream).print(table([*many, HOSTILE]))
    lines = stream.getvalue().splitlines()
    assert lines[0].split()[0] == "count" and lines[2].split()[0] == "446"
    assert "and 2" in stream.getvalue() and len(lines) < 14
