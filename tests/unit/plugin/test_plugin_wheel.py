# SPDX-License-Identifier: GPL-2.0-or-later
"""A wheel holds all that the harness needs at run time."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOT_SOURCES = shutil.ignore_patterns(".*", "out", "build", "*.egg-info", "__pycache__", "tests", "docs")
PRINT_ALL = """
from harness.kernel import image_names, load_matrix, project_root
matrix = load_matrix()
print(project_root(), sorted(matrix.architectures), image_names(), sep="\\n")
"""


def told(site, directory):
    """What the harness finds of its own when it is imported from ``site``."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", PRINT_ALL]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What pip would put into site-packages."""
    directory = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, directory / "src", ignore=NOT_SOURCES)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        directory,
        directory / "src",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("pip cannot reach a package index for the build's own needs")
    assert done.returncode == 0, done.stderr
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


def files(directory):
    """Sources below a directory; what building or editing left beside them is none."""
    found = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {path for path in found if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)}


@pytest.mark.parametrize("name", ["images", "kernel-configs"])
def test_what_guests_are_made_of_is_in_the_wheel(site, name):
    assert files(site / "harness" / "project" / name) == files(ROOT / name)


def test_an_installed_harness_finds_its_own_and_not_the_checkout(site, tmp_path):
    root, *rest = told(site, tmp_path).splitlines()
    assert root == str(site / "harness" / "project")
    assert rest == told(ROOT, tmp_path).splitlines()[1:]


def test_pytest_finds_the_plugin_in_the_wheel(site):
    (points,) = site.glob("*.dist-info/entry_points.txt")
    assert "[pytest11]\ndmasafe = harness.pytest_plugin" in points.read_text()
