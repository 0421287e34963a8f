# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/pytest.md says what is so: lines of the examples, the example's test, the options."""

import re
from pathlib import Path

from dmasafe.pytest_plugin.options import OPTIONS

DOCS = Path(__file__).parents[3] / "docs"
MANUAL = (DOCS / "pytest.md").read_text()


def test_the_lines_of_the_examples_are_those_of_the_mistake():
    shown = re.findall(r"/home/me/thermo/(\w+)/thermo\.c:(\d+)", MANUAL)
    assert {driver for driver, _ in shown} == {"buggy", "embedded"}
    for driver, number in shown:
        line = (DOCS / "examples" / driver / "thermo.c").read_text().splitlines()[int(number) - 1]
        assert "i2c_master_recv_dmasafe(" in line, f"{driver}/thermo.c:{number}"


def test_the_test_that_is_shown_is_the_examples():
    shown = next(block for block in re.findall(r"```python\n(.*?)```", MANUAL, re.S) if "class Thermometer" in block)
    assert shown in (DOCS / "examples" / "test_thermo.py").read_text()


def test_every_option_is_in_the_table_with_its_choices():
    table = [line for line in MANUAL.splitlines() if line.startswith("| `--")]
    for option in OPTIONS:
        (row,) = (line for line in table if f"`{option.flag}`" in line)
        assert all(f"`{choice}`" in row for choice in option.choices or ()), option.flag


def test_no_document_tells_to_install_into_debians_own_python():
    """PEP 668: it refuses. A virtual environment's pip and pipx do not."""
    for document in (DOCS.parent / "README.md", DOCS / "pytest.md", DOCS / "index.md"):
        shown = "\n".join(re.findall(r"^```\n(.*?)^```", document.read_text(), re.S | re.M))
        lines = [line for line in shown.splitlines() if "pip install" in line]
        assert lines, document
        for line in lines:
            assert re.search(r"venv/bin/pip install", line), f"{document}: {line}"
