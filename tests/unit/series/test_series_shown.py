# SPDX-License-Identifier: GPL-2.0-or-later
"""What a verdict looks like in each form, and that machines can read it."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import jsonschema
import pytest
from series_rig import BASE, CORE, PROBE, SEND, caught, results, safe

from dmasafe.audit import Level
from dmasafe.check import CheckResult, Step
from dmasafe.report.formats import junit, ktap
from dmasafe.series import mail, show
from dmasafe.series.choose import Choice, Job
from dmasafe.series.differ import Kind
from dmasafe.series.run import Finding, JobRun, Verdict
from dmasafe.series.tree import Commit, Hunk, Series

COMMAND = "dmasafe series --kdir . v6.12..mine --each"
ME = "A Kernel Developer <me@example.org>"


def a_commit(number, subject, *paths, message_id=None):
    return Commit(f"{number:040x}", f"{number + 100:040x}", subject, ME, paths, message_id)


BASE_COMMIT = a_commit(1, "Linux 6.12.117")
DOC, LOSE, BREAK = (
    a_commit(2, "Documentation: i2c: Use the plural", "Documentation/i2c/index.rst", message_id="<1@example.org>"),
    a_commit(3, "i2c: smbus: Lose the flag", CORE, message_id="<2@example.org>"),
    a_commit(4, "i2c: core: Break", BASE, message_id="<3@example.org>"),
)
JOB = Job("core", "default", "x86_64")
HUNK = Hunk(
    CORE,
    312,
    "try_get()",
    "@@ -309,3 +309,2 @@ static void try_get(struct i2c_msg *msg)\n \tmsg->buf = b;\n-\tmsg->flags |= F;\n \n",
)
LOST = Finding(
    Kind.WORSE, JOB.name, f"{SEND}: SAFE -> CAUGHT (map-vmalloc-rejected)", "expected SAFE: a copy", (SEND,), (3, 3),
    (LOSE,), blame="payload_map [dmasafe_controller]", function="payload_map", unexpected=True, hunks=(HUNK,),
)  # fmt: skip
BROKEN = Finding(
    Kind.BROKEN, "x86_64 default", f"{BREAK.sha[:12]} (i2c: core: Break) does not build; corrected by 0123 (Mend)",
    f"{BASE}:12: 'x' undeclared", suspects=(BREAK,), file=BASE, line=12,
)  # fmt: skip
CHECKED = Finding(
    Kind.CHECKED, "source", f"flagged-unsafe: f() in {CORE}:7", "buf is on the stack: goes to i2c_transfer()",
    suspects=(LOSE,), file=CORE, line=7,
    checked=CheckResult(
        "flagged-unsafe", Level.ERROR, "stack", "i2c", "i2c_transfer()", CORE, 7, "f", "buf", "it is the stack",
        "use kmalloc()", "a document", (Step(CORE, 5, "f", "buf"),),
    ),
)  # fmt: skip
CLIENT = replace(
    LOST,
    where="clients (ad5110) on x86_64 upstream",
    what=f"{PROBE}: SAFE -> CAUGHT (map-stack)",
    ids=(PROBE,),
    hunks=(),
)
BETTER = Finding(Kind.BETTER, JOB.name, "stack/x: CAUGHT -> SAFE", ids=("stack/x",), suspects=(LOSE,), unexpected=True)
UNSAID = Finding(Kind.UNSAID, JOB.name, "heap/x: SAFE -> INCONCLUSIVE", "the guest hung", ids=("heap/x",))
REASON = "core: drivers/i2c/i2c-dev.c is i2c-dev: what user space asks for, on every controller"
CHOICE = Choice((JOB,), (REASON,), ("drivers/x.c",), ("Documentation/i2c/index.rst",))
RUN = JobRun(JOB, (results({SEND: safe()}),), (results({SEND: caught()}),))


def verdict(*findings, runs=(RUN,), choice=CHOICE, tried=3):
    series = Series(BASE_COMMIT, "the merge base with origin/master", (DOC, LOSE, BREAK))
    return Verdict(series, choice, findings, runs, 12, tried, 1.5)


ALL = verdict(BROKEN, LOST, CLIENT, CHECKED, UNSAID, BETTER)
NOTHING = Verdict(ALL.series, Choice((), (), (), ("Documentation/i2c/index.rst",)))


def text(found):
    return "\n".join(line.plain for line in show.table(found))


def test_the_terminal_has_each_difference_with_its_commit():
    shown = text(ALL)
    assert f"of {LOSE.sha[:12]} (i2c: smbus: Lose the flag)" in shown
    assert "in 3 of 3 runs" in shown and "blame: payload_map [dmasafe_controller]" in shown
    assert "the model expects what the base does" in shown
    assert (
        shown.index("DOES NOT BUILD")
        < shown.index("WORSE")
        < shown.index("FOUND IN THE SOURCE")
        < shown.index("BETTER")
    )
    assert REASON in shown and "nothing: Documentation/i2c/index.rst" in shown
    assert shown.endswith("worse") and ALL.exit_status == 1


def test_what_is_broken_in_both_is_one_line():
    both = JobRun(JOB, (results({SEND: caught()}),), (results({SEND: caught()}),))
    assert "1 row not as expected at the base, and alike now: not counted" in text(verdict(runs=(both,)))


@pytest.mark.parametrize(
    ("found", "status", "end"),
    [
        (verdict(BETTER), 0, "1 better: nothing is worse"),
        (verdict(UNSAID, BETTER), 2, "it cannot be said"),
        (verdict(UNSAID, LOST), 1, ": worse"),
        (NOTHING, 0, "nothing of it is built or checked here: nothing is worse"),
    ],
)
def test_the_status_is_that_of_the_worst(found, status, end):
    assert found.exit_status == status and text(found).endswith(end)


def test_each_kind_has_its_status():
    worse = (Kind.BROKEN, Kind.WORSE, Kind.FLAKY, Kind.CHECKED, Kind.SLOWER)
    status = {**dict.fromkeys(worse, 1), Kind.UNSAID: 2, Kind.GONE: 2, Kind.OTHER: 0, Kind.BETTER: 0}
    assert {kind: verdict(replace(BETTER, kind=kind)).exit_status for kind in Kind} == status


@pytest.mark.parametrize("found", [ALL, NOTHING, verdict()])
def test_the_json_is_as_its_schema_says(found):
    schema = json.loads(show.SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(show.to_json(found))))


def test_junit_and_ktap_have_the_differences_and_each_job():
    found = show.as_results(ALL, COMMAND)
    cases = ET.fromstring(junit.render(found)).iter("testcase")
    results_ = {case.get("name"): [child.tag for child in case] for case in cases}
    assert results_[LOST.what] == ["failure"] and results_[UNSAID.what] == ["error"]
    assert COMMAND in junit.render(found)
    assert f"not ok 1 {LOST.what}" in ktap.render(found)
    good = show.as_results(verdict(), COMMAND)
    assert "ok 1 core on x86_64 default: nothing is worse" in ktap.render(good)
    assert ET.fromstring(junit.render(good)).get("failures") == "0"


def test_sarif_has_a_place_for_each():
    run = json.loads(show.to_sarif(ALL))["runs"][0]
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    told = [(place["artifactLocation"]["uri"], place["region"]["startLine"]) for place in places]
    # Without a hunk: a place that every tree has.
    assert told == [(BASE, 12), (CORE, 312), ("Makefile", 1), (CORE, 7)]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [one["ruleId"] for one in run["results"]] == [rules[one["ruleIndex"]] for one in run["results"]]
    assert json.loads(show.to_sarif(verdict(BETTER)))["runs"][0]["results"] == []


@pytest.mark.parametrize(("found", "state"), [(ALL, "fail"), (verdict(UNSAID), "warning"), (NOTHING, "success")])
def test_patchwork_gets_what_its_api_takes(found, state):
    # patchwork/api/check.py: CheckSerializer; a context is a slug.
    made = show.patchwork(found, "https://example.org/1")
    assert made["state"] == state and set(made) == {"state", "context", "description", "target_url"}
    assert made["context"].isalnum() and 0 < len(made["description"]) <= 255
    assert "target_url" not in show.patchwork(found, None)


def test_the_mail_answers_the_patch_that_is_to_blame():
    made = mail.render(verdict(LOST), COMMAND, ME)
    head, _, body = made.partition("\n\n")
    assert "Subject: Re: [PATCH 2/3] i2c: smbus: Lose the flag" in head
    assert "In-Reply-To: <2@example.org>" in head and f"From: {ME}" in head
    assert "> -\tmsg->flags |= F;" in body and "> --- a/drivers/i2c/i2c-core-smbus.c" in body
    assert "  base: SAFE\n  now:  CAUGHT (map-vmalloc-rejected)" in body
    assert f"dmasafe run --kernel . --arch x86_64 \\\n    '{SEND}'" in body
    assert f"Tested with:\n  {COMMAND}" in body and "Tested-by" not in body


def test_the_mail_of_several_answers_the_first_and_names_each():
    made = mail.render(ALL, COMMAND, "")
    assert "Subject: Re: [PATCH 1/3] Documentation: i2c: Use the plural" in made and "From:" not in made
    # In the series' order.
    assert made.index("# [PATCH 2/3] i2c: smbus: Lose the flag") < made.index("# [PATCH 3/3] i2c: core: Break")
    assert "CAUGHT: the kernel reported it" in made and "SILENT" not in made
    assert "This does not build; corrected by 0123 (Mend):\n  drivers/i2c/i2c-core-base.c:12: 'x' undeclared" in made
    assert "dmasafe clients ad5110 --phase use --place dmasafe:bounce \\\n    --kernel . --config upstream" in made


def test_the_mail_says_how_a_board_shows_what_the_check_suspects():
    assert CHECKED.checked is not None
    suspected = replace(CHECKED.checked, rule="unsafe-buffer-handed-over", bus="spi", kind="stack")
    made = mail.render(verdict(replace(CHECKED, checked=suspected)), COMMAND, "")
    assert f"To see it in a boot:\n  dmasafe prove --kernel . {CORE}:7" in made
    assert "dmasafe prove" not in mail.render(verdict(CHECKED), COMMAND, "")


def test_the_mail_of_nothing_is_a_tag():
    made = mail.render(verdict(), COMMAND, ME)
    assert f"Tested-by: {ME} # dmasafe, x86_64 default" in made and "Nothing is worse" in made


def test_a_mail_is_72_columns_wide_but_for_what_is_quoted_and_typed():
    long = replace(LOST, why="x " * 100, what=f"{SEND}: SAFE -> CAUGHT")
    for line in mail.render(verdict(long, BROKEN, CHECKED, UNSAID, BETTER), COMMAND, ME).splitlines():
        assert len(line) <= 72 or line.startswith((">", "Subject", "  '")), line


def test_the_directory_has_every_form():
    names = list(show.files(ALL, COMMAND, "mail"))
    assert names == [
        "series.json", "series.sarif", "mail.txt", "junit.xml", "results.ktap", "1-core-x86_64-default-base.json",
        "1-core-x86_64-default-tip.json",
    ]  # fmt: skip
