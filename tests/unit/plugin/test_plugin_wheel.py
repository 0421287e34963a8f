# SPDX-License-Identifier: GPL-2.0-or-later
"""A wheel holds all that the harness needs at run time."""

import os
import shutil
import subprocess
import sys
import tomllib
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
SPLAT = """\
[    1.000000] DMA-API: pci 0000:00:02.0: device driver maps memory from stack [addr=00000000deadbeef]
"""
SMBUS2 = """
from dmasafe.devices.bus import default_bus
from dmasafe.model import ModelKernel
from smbus2 import SMBus
kernel = ModelKernel(slaves=default_bus())
kernel.adapter("dmasafe")
with kernel.installed(), SMBus(0) as bus:
    bus.write_i2c_block_data(0x20, 0x30, [1, 2, 3])
    print(bus.read_i2c_block_data(0x20, 0x30, 3))
"""
# Prints the top-level packages that an import brought from site-packages.
THIRD_PARTY = """
import sys, sysconfig
site = sysconfig.get_paths()["purelib"]
before = set(sys.modules)
import {module}
files = {{name: getattr(sys.modules[name], "__file__", None) or "" for name in sys.modules.keys() - before}}
print(*sorted({{name.split(".")[0] for name, file in files.items() if file.startswith(site)}} - {{"dmasafe"}}))
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


@pytest.fixture(scope="module")
def installed(wheel):
    """Runs a program of an empty environment with the wheel, pytest and smbus2 in it, without any extra."""
    place = wheel.parent / "venv"
    # This environment's pip installs into it: unpacking another takes longer than all the tests here.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    # The caller's PYTHONPATH could lend the checkout's package.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(program, *words, cwd=wheel.parent, stdin=""):
        command = [place / "bin" / program, *words]
        return subprocess.run(command, cwd=cwd, env=variables, input=stdin, capture_output=True, text=True)

    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--quiet", "--no-compile"]
    done = subprocess.run([*pip, wheel, "pytest", "smbus2"], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return run


def test_installed_beside_a_project_with_folders_of_the_same_names(installed, tmp_path):
    for name in ("harness", "tests", "images", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"NAME = {name!r}\n")
    (tmp_path / "tests" / "test_own.py").write_text(
        "import harness, images, tests\n"
        "from dmasafe.model import ModelKernel\n"
        "def test_own_folders_and_the_fixtures(dmasafe_bus):\n"
        "    assert (harness.NAME, images.NAME, tests.NAME) == ('harness', 'images', 'tests')\n"
    )
    done = installed("python", "-m", "pytest", "-q", "--dmasafe-target=model", cwd=tmp_path)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "stdin", "status", "said"),
    [
        (("--help",), "", 0, "matrix"),
        (("list",), "", 0, "smoke"),
        (("run", "--target", "model", "--suite", "smoke"), "", 0, "PASS"),
        (("parse", "-"), SPLAT, 1, "map-stack"),
        (("explain", "map-stack"), "", 0, "map-stack"),
        (("matrix", "--help"), "", 0, "regressions"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_the_extra_matrix_works(installed, words, stdin, status, said):
    done = installed("dmasafe", *words, stdin=stdin)
    assert (done.returncode, said in done.stdout) == (status, True), done.stdout + done.stderr


def test_without_the_extra_the_matrix_says_what_to_install(installed):
    done = installed("dmasafe", "matrix", "list")
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["matrix"]
    assert (done.returncode, done.stdout) == (2, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.endswith("pip install 'dmasafe[matrix]'")
    assert sentence.count(",") + 1 == len(needed)  # none of them came with something else


def test_smbus2_opens_the_models_files(installed):
    done = installed("python", "-c", SMBUS2)
    assert (done.returncode, done.stdout) == (0, "[1, 2, 3]\n"), done.stderr


@pytest.mark.parametrize(("module", "others"), [("dmasafe.model", []), ("dmasafe.cli", ["click"])])
def test_importing_brings_no_other_package(installed, module, others):
    done = installed("python", "-c", THIRD_PARTY.format(module=module))
    assert (done.returncode, done.stdout.split()) == (0, others), done.stderr
