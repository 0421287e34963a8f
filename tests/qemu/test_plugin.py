# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin on a real kernel: the examples as users run them, and what must not pass."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
THEIRS = Path(__file__).parent / "plugin" / "others_in_guest.py"
RUN_TIMEOUT_S = 300


def run_tests(directory, *options):
    """Run the tests of a directory outside the project with nothing but pytest; the cases by name."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=junit.xml", *options],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    cases = {}
    for element in ET.parse(directory / "junit.xml").iter("testcase"):
        found = [child for child in element if child.tag in ("failure", "error", "skipped")]
        text = "\n".join(f"{child.get('message', '')}\n{child.text or ''}" for child in element)
        cases[element.get("name")] = (found[0].tag if found else "passed", text)
    return cases, done.stdout + done.stderr


@pytest.fixture(scope="module")
def directory(tmp_path_factory, guest):
    """The examples, as somebody would copy them away."""
    copy = tmp_path_factory.mktemp("examples") / "mine"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("controller"))
    return copy


@pytest.fixture(scope="module")
def cases(directory):
    shutil.copy(THEIRS, directory / "test_theirs.py")
    shutil.copytree(directory / "fixed", directory / "broken")
    (directory / "broken" / "thermo.c").write_text("this is no C\n")
    several = directory / "several"
    shutil.copytree(directory / "fixed", several / "sensor")
    shutil.copytree(THEIRS.parent / "core", several / "core")
    (several / "Kbuild").write_text("obj-m += core/ sensor/\n")
    sensor = (several / "sensor" / "thermo.c").read_text()
    declared = "int thermo_core_convert(int raw);\n\nstatic int thermo_measure"
    sensor = sensor.replace("static int thermo_measure", declared).replace(
        "raw * 1000 / 256", "thermo_core_convert(raw)"
    )
    (several / "sensor" / "thermo.c").write_text(sensor)
    # The kernel that everybody has built; test_strict.py tries the plugin's own default.
    found, output = run_tests(directory, "--dmasafe-strict=off")
    (directory / "test_theirs.py").unlink()
    print(output)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "the_fixed_driver_reads_the_temperature",
        "the_buggy_driver_is_caught",
        "the_buffer_inside_a_struct_is_caught",
        "wrong_buffers_of_scenarios",
        "two_clients",
        "a_module_that_needs_another",
        "files_modules_and_commands",
        "what_the_device_saw",
        "scenario",
        "same_boot",
        "after_the_panic",
    ],
)
def test_what_is_right_passes(cases, name):
    assert cases[f"test_{name}"][0] == "passed", cases[f"test_{name}"][1]


def line_of(file, text):
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def test_a_splat_fails_a_test_that_does_not_expect_it_and_the_report_names_the_drivers_line(cases, directory):
    outcome, text = cases["test_unexpected"]
    assert outcome == "failure"
    source = directory / "buggy" / "thermo.c"
    line = line_of(source, "i2c_master_recv_dmasafe(client")
    assert "map-vmalloc-rejected: dmasafe_controller 0000:00:06.0: rejecting DMA map of vmalloc memory" in text
    assert f"blame: thermo_measure() [thermo] at {source}:{line}" in text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("slave_raises", "the slave at 0x48: read() raised ValueError: dead"),
        ("another_finding", "the audit did not find flagged-unsafe; it found:\nnothing"),
        ("loaded_twice", "thermo is loaded already: add_client()"),
        ("no_such_module", "there is no module directory"),
        ("does_not_compile", "broken/thermo.c:1"),
        ("nobody_takes_it", "no driver took the client other at 0x48"),
    ],
)
def test_what_is_wrong_fails_and_is_named(cases, name, why):
    outcome, text = cases[f"test_{name}"]
    assert outcome == "failure", text
    assert why in text


@pytest.mark.parametrize(
    ("name", "why"),
    [("dma_debug_filtered", "dma-debug's driver filter hides"), ("panic", "the guest ")],
)
def test_what_cannot_be_trusted_is_inconclusive_even_if_a_failure_was_expected(cases, name, why):
    outcome, text = cases[f"test_{name}"]
    assert outcome == "failure", text
    assert "INCONCLUSIVE: " in text
    assert why in text


def message_of(cases, name):
    """The first line of what JUnit has as the failure's message."""
    outcome, text = cases[f"test_{name}"]
    assert outcome == "failure", text
    return text.partition("\n")[0]


def measure(directory, driver):
    source = directory / driver / "thermo.c"
    return f"thermo_measure() [thermo] at {source}:{line_of(source, 'i2c_master_recv_dmasafe(')}"


def test_splat_and_blame_come_before_the_errno_that_failed_the_test(cases, directory):
    message = message_of(cases, "errno")
    assert message.startswith(f"map-vmalloc-rejected in {measure(directory, 'buggy')}: rejecting DMA map")
    assert "the test: dmasafe.pytest_plugin.errors.RefusedByGuest: [Errno 5]" in cases["test_errno"][1]


def test_a_slaves_exception_comes_first_with_its_line(cases, directory):
    line = line_of(THEIRS, 'ValueError("dead")')
    assert message_of(cases, "slave_raises_and_the_driver_fails") == (
        f"the slave at 0x48: read() raised ValueError: dead at {directory / 'test_theirs.py'}:{line}"
    )


def test_stray_dma_names_the_function_and_the_kind_of_memory(cases, directory):
    message = message_of(cases, "astray")
    assert message.startswith("Failed: stray DMA to 0x")
    assert f"{measure(directory, 'buggy')} gave it the stack of the calling task, marked I2C_M_DMA_SAFE" in message


def test_a_marked_buffer_inside_a_struct_fails_a_test_although_the_kernel_says_nothing(cases, directory):
    assert message_of(cases, "embedded").startswith(f"Failed: shared-line in {measure(directory, 'embedded')}: ")


def test_workers_have_a_boot_each_and_leave_nothing_behind(directory, cases, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found, output = run_tests(
        directory, "--dmasafe-strict=off", "-n", "2", "--dmasafe-boot-scope=function", "--basetemp=basetemp"
    )
    assert sorted(outcome for outcome, _ in found.values()) == ["passed"] * 3, output
    logs = sorted((directory / "basetemp").glob("popen-gw*/dmasafe0/boot-1/kmsg.log"))
    assert len(logs) == 2, [str(log) for log in logs]
    assert list(tmp_path.iterdir()) == []
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    # Other people's runs may be under way on this machine.
    assert not [command for command in commands if str(tmp_path) in command or str(directory) in command]
