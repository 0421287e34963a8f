# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from report_samples import NASTY, errored, failed, lost, make_splat, passed, skipped

from dmasafe.report.formats import junit


def test_suites_are_the_places_and_cases_the_scenarios(passing) -> None:
    root = ET.fromstring(junit.render(passing))
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == [
        "virtio",
        "dmasafe:bounce",
        "dmasafe:flag-only",
        "dmasafe:trusting",
        "dmasafe:pio",
    ]
    assert sorted(str(case.get("name")) for case in root.iter("testcase")) == sorted(row.id for row in passing.rows)
    assert root.get("tests") == str(len(passing.rows))
    assert root.get("skipped") == "160"
    assert sum(int(suite.get("tests", "0")) for suite in suites) == len(passing.rows)
    assert suites[1].find("testcase").get("classname") == "dmasafe.core.dmasafe.bounce.heap"


def test_each_verdict_has_its_element(with_rows) -> None:
    root = ET.fromstring(junit.render(with_rows(passed(), failed(), lost(), errored(), skipped())))
    cases = root.findall("testsuite/testcase")
    assert [[child.tag for child in case] for case in cases] == [[], ["failure"], ["error"], ["error"], ["skipped"]]
    assert [case[0].get("type") for case in cases[1:]] == ["fail", "inconclusive", "error", "skip"]
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "2",
        "skipped": "1",
    }
    assert cases[4][0].get("message") == "x86_64 has no highmem"


def test_a_failure_says_what_was_expected_what_happened_why_and_which_splat(with_rows) -> None:
    root = ET.fromstring(junit.render(with_rows(failed("stray DMA to 0x2000e0c0", make_splat()))))
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None and failure.text is not None
    assert failure.get("message") == "stray DMA to 0x2000e0c0"
    for part in (
        "expected: CAUGHT",
        "happened: SILENT",
        "map-vmalloc-rejected",
        "blame: dmasafe_xfer [dmasafe_controller] dmasafe_controller.c:312",
        "dma-mapping.h:327",
    ):
        assert part in failure.text
    assert "dmasafe run --target qemu 'stack/master_send/dmasafe:bounce/0'" in failure.text


def test_text_of_the_guest_stays_text(with_rows) -> None:
    data = junit.render(with_rows(failed(NASTY, make_splat(NASTY)), skipped(NASTY))).encode()
    root = ET.fromstring(data)
    assert not list(root.iter("script"))
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None and failure.text is not None
    assert "<script>alert(1)</script>" in failure.text
    assert "\\x1b[2J\\x00" in failure.text and "\\ud800" in failure.text
    assert not any(byte < 0x20 and byte not in b"\t\n\r" for byte in data)


def test_durations_are_plain_decimals_in_seconds(with_rows) -> None:
    root = ET.fromstring(junit.render(with_rows(passed())))
    case = root.find("testsuite/testcase")
    assert case is not None and case.get("time") == "0.000050"


def test_a_boot_that_is_not_trusted_says_so_in_every_suite(passing) -> None:
    root = ET.fromstring(junit.render(replace(passing, reason="the guest rebooted")))
    for suite in root.findall("testsuite"):
        found = {p.get("name"): p.get("value") for p in suite.iter("property")}
        assert found["untrusted"] == "the guest rebooted"
        assert found["kernel.release"] == "6.12.117"


def test_an_empty_run_is_a_valid_document(with_rows) -> None:
    assert ET.fromstring(junit.render(with_rows())).tag == "testsuites"
