# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user chose: on the command line, else in the ini file, else the option's default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from dmasafe.architecture import host_arch
from dmasafe.errors import DmasafeError
from dmasafe.kernel import DEFAULT_SOURCE
from dmasafe.kernel.config import STRICT_FRAGMENT, has_strict_kernel, strict_line_of
from dmasafe.pytest_plugin.options import OPTIONS


@dataclass(frozen=True)
class Settings:
    """One value an option; an empty ``kernel`` is the default source, an empty ``accel`` the first that works."""

    target: str
    kernel: str
    kdir: str
    config: str
    strict: str
    arch: str
    image: str
    accel: str
    boot_scope: str
    audit: str

    @classmethod
    def of(cls, config: pytest.Config) -> Settings:
        """Raises DmasafeError for a value that the option cannot have."""
        values = {}
        for option in OPTIONS:
            value = config.getoption(option.ini) or str(config.getini(option.ini) or "") or option.default
            if option.choices is not None and value not in option.choices:
                raise DmasafeError(f"{option.ini} = {value}: it is one of {', '.join(option.choices)}")
            values[option.ini.removeprefix("dmasafe_")] = value
        values["arch"] = values["arch"] or host_arch()
        settings = cls(**values)
        if settings.kernel and settings.kdir:
            raise DmasafeError("--dmasafe-kernel and --dmasafe-kdir both name a kernel: give one of them")
        if settings.kdir and not Path(settings.kdir).expanduser().is_dir():
            raise DmasafeError(f"there is no kernel tree {settings.kdir}")
        return settings

    @property
    def configuration(self) -> str:
        """The configuration as the harness names it."""
        if self.strict == "off" or strict_line_of(self.config, self.arch):
            return self.config
        wanted = self.strict == "on" or has_strict_kernel(self.config, self.arch)
        return f"{self.config}+{STRICT_FRAGMENT}" if wanted else self.config

    def source(self) -> str:
        """The kernel source as the harness names it."""
        return str(Path(self.kdir).expanduser().resolve()) if self.kdir else self.kernel or DEFAULT_SOURCE
