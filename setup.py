# SPDX-License-Identifier: GPL-2.0-or-later
"""What pyproject.toml cannot say: what guests are made of lies beside the package and is installed inside it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
DIRECTORIES = ("images", "kernel-configs", "scripts")
# Where dmasafe.architecture.project_root() looks when it is not in a checkout.
TARGET = "dmasafe/project"
_LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.o", "*.ko", "*.mod*", ".*")


class BuildWithProject(build_py):
    """Adds the directories to a wheel; an editable installation finds them in the checkout."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for name in DIRECTORIES:
            target = Path(self.build_lib, TARGET, name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / name, target, ignore=_LEFTOVERS)


setup(cmdclass={"build_py": BuildWithProject})
