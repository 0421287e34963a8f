# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from report_samples import NASTY, errored, failed, lost, make_splat, passed, skipped

from dmasafe.outcome import Outcome
from dmasafe.report import ReportError, json_report

# The measured time is near 0.07 s; the bound is the one that a warm run can afford.


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(json_report.SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_whole_run_obeys_the_schema(passing, validator) -> None:
    validator.validate(json.loads(json_report.render(passing)))


def test_every_verdict_obeys_the_schema(with_rows, validator) -> None:
    judgements = (passed(), failed("why", make_splat(NASTY)), lost(), errored(), skipped())
    results = with_rows(*judgements, boot_s=None, scenarios_s=None, accel=None, reason="no canary", notes=("slow",))
    validator.validate(json.loads(json_report.render(results)))


def test_the_schema_refuses_what_breaks_the_contract(passing, validator) -> None:
    good = json.loads(json_report.render(replace(passing, rows=passing.rows[:2])))
    for key, value in (("verdict", "OK"), ("length", -1), ("direct", "yes"), ("splats", [{"class": "other"}])):
        bad = json.loads(json.dumps(good))
        bad["scenarios"][1][key] = value
        assert not validator.is_valid(bad), key
    for key in good:
        assert not validator.is_valid({name: value for name, value in good.items() if name != key}), key


def test_the_keys_that_tools_rely_on_have_their_values(with_rows) -> None:
    found = json.loads(json_report.render(with_rows(failed("guard-after", make_splat()), passed(Outcome.REFUSED))))
    assert found["schema"] == 1
    assert found["kernel"] == {
        "release": "6.12.117",
        "arch": "x86_64",
        "config": "default",
        "source": "apt:linux-source-6.12",
    }
    assert found["canary"] == {"splatted": True}
    assert found["counts"] == {"pass": 1, "fail": 1, "inconclusive": 0, "skip": 0, "error": 0}
    assert found["durations"] == {"boot_s": 1.074, "scenarios_s": 2.25, "total_s": 4.5}
    first = found["scenarios"][0]
    assert (first["outcome"], first["expected"], first["verdict"]) == ("SILENT", "CAUGHT", "FAIL")
    assert (first["buffer"], first["controller"], first["policy"]) == ("stack", "dmasafe", "bounce")
    assert first["splats"][0]["class"] == "map-vmalloc-rejected"
    assert first["splats"][0]["fields"]["address"] == 0xFFFFC90000123000
    assert first["splats"][0]["frames"][5]["module"] == "dmasafe_controller"


def test_a_run_comes_back_as_it_was_written(passing, tmp_path: Path) -> None:
    json_report.write(passing, tmp_path / "results.json")
    again = json_report.load(tmp_path / "results.json")
    # Microseconds are written with one digit after the point.
    rounded = [
        replace(row, judgement=replace(row.judgement, us=row.judgement.us and round(row.judgement.us, 1)))
        for row in passing.rows
    ]
    assert again == replace(passing, rows=tuple(rounded))
    assert json_report.render(again) == json_report.render(passing)


def test_odd_text_comes_back_too(with_rows, tmp_path: Path) -> None:
    results = with_rows(failed(NASTY, make_splat(NASTY)), lost(NASTY), notes=(NASTY,), reason=NASTY)
    json_report.write(results, tmp_path / "results.json")
    assert json_report.load(tmp_path / "results.json") == results
    assert (tmp_path / "results.json").read_bytes().isascii()


def test_a_scenario_is_a_line(passing) -> None:
    lines = json_report.render(passing).splitlines()
    assert sum('"id": "' in line for line in lines) == len(passing.rows)
    assert len(lines) < len(passing.rows) + 40


def test_an_empty_run_is_valid_json(with_rows, validator) -> None:
    validator.validate(json.loads(json_report.render(with_rows())))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", r"cannot read .*odd.json: .* line 1"),
        ("[]", "no 'schema'"),
        ('{"schema": 2}', "schema 2"),
        ('{"schema": 1}', "KeyError: 'scenarios'"),
        ("\xff", "cannot read .*odd.json: .*utf-8"),
    ],
)
def test_what_is_no_results_json_is_refused_in_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ReportError, match=says) as caught:
        json_report.load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot read .*nowhere.json: No such file"):
        json_report.load(tmp_path / "nowhere.json")


def test_keys_of_a_later_version_do_not_disturb(passing, tmp_path: Path) -> None:
    found = json.loads(json_report.render(replace(passing, rows=passing.rows[-600:])))
    found["new"] = 1
    for scenario in found["scenarios"]:
        scenario["new"] = {}
        for splat in scenario["splats"]:
            splat["new"] = []
            for frame in splat["frames"]:
                frame["new"] = 0
    (tmp_path / "results.json").write_text(json.dumps(found))
    assert len(json_report.load(tmp_path / "results.json").rows) == 600
