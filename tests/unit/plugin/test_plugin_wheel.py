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
from dmasafe.kernel import image_names, load_matrix, project_root
matrix = load_matrix()
print(project_root(), sorted(matrix.architectures), image_names(), sep="\\n")
"""


def told(site, directory):
    """What the harness finds of its own when it is imported from ``site``."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", PRINT_ALL]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The project's wheel, built from a copy of the sources."""
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
    return wheel


@pytest.fixture(scope="module")
def site(wheel):
    """What pip would put into site-packages."""
    directory = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def files(directory):
    """Sources below a directory; what building or editing left beside them is none."""
    found = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {path for path in found if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)}


@pytest.mark.parametrize("name", ["images", "kernel-configs"])
def test_what_guests_are_made_of_is_in_the_wheel(site, name):
    assert files(site / "dmasafe" / "project" / name) == files(ROOT / name)


def test_an_installed_harness_finds_its_own_and_not_the_checkout(site, tmp_path):
    root, *rest = told(site, tmp_path).splitlines()
    assert root == str(site / "dmasafe" / "project")
    assert rest == told(ROOT / "harness", tmp_path).splitlines()[1:]


def test_pytest_finds_the_plugin_in_the_wheel(site):
    (points,) = site.glob("*.dist-info/entry_points.txt")
    assert "[pytest11]\ndmasafe = dmasafe.pytest_plugin" in points.read_text()


def test_installed_beside_a_project_with_folders_of_the_same_names(wheel, tmp_path):
    project, environment = tmp_path / "project", tmp_path / "venv"
    for name in ("harness", "tests", "images", "docs"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f"NAME = {name!r}\n")
    (project / "tests" / "test_own.py").write_text(
        "import harness, images, tests\n"
        "from dmasafe.model import ModelKernel\n"
        "def test_own_folders_and_the_fixtures(dmasafe_bus):\n"
        "    assert (harness.NAME, images.NAME, tests.NAME) == ('harness', 'images', 'tests')\n"
    )
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    # The caller's PYTHONPATH could lend the checkout's package.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    install = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, "pytest"]
    subprocess.run(install, check=True, env=variables, capture_output=True, cwd=tmp_path)
    command = [environment / "bin" / "python", "-m", "pytest", "-q", "--dmasafe-target=model"]
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
