# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's tests, run by a pytest of their own outside the project."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import pytest

OPTIONS = ("-q", "-p", "no:cacheprovider", "--junitxml=junit.xml", "-o", "junit_logging=all")


@dataclass(frozen=True)
class Case:
    """One of their tests: ``outcome`` as JUnit has it, ``text`` all that was said about it."""

    outcome: str
    text: str


def run_pytest(directory, *options, timeout=200):
    """Run the tests of a directory; the cases by name (without the parameters), and the output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "--rootdir", directory, *options],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    cases = {}
    for element in ET.parse(directory / "junit.xml").iter("testcase"):
        found = [child for child in element if child.tag in ("failure", "error", "skipped")]
        text = "\n".join(f"{child.get('message', '')}\n{child.text or ''}" for child in element)
        cases[element.get("name").partition("[")[0]] = Case(found[0].tag if found else "passed", text)
    return cases, done.stdout + done.stderr


@pytest.fixture(scope="session")
def others():
    """run_pytest()."""
    return run_pytest
