# SPDX-License-Identifier: GPL-2.0-or-later
"""A board that labgrid keeps: its environment file says how the place is reached, and we go there ourselves."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dmasafe.guest.link import Link, LinkError
from dmasafe.guest.serial import SerialLink
from dmasafe.guest.ssh import Address, SshLink, SshOptions

ENVIRONMENT_VARIABLE = "LG_ENV"


def open_place(
    place: str, environment: Path | None, known_hosts: Path | None, password: Callable[[], str] | None
) -> Link:
    """SSH where target ``place`` of the environment has a NetworkService, else its serial port. Raises LinkError."""
    try:
        labgrid: Any = importlib.import_module("labgrid")
    except ImportError as error:
        raise LinkError("target labgrid: needs labgrid: pip install 'dmasafe[labgrid]'") from error
    file = environment or _from_environment()
    try:
        target = labgrid.Environment(str(file)).get_target(place)
    except Exception as error:
        # labgrid's own errors have no root of their own.
        raise LinkError(f"labgrid cannot read {file}: {type(error).__name__}: {error}") from error
    if target is None:
        raise LinkError(f"{file} has no target '{place}'")
    resources = {type(resource).__name__: resource for resource in target.resources}
    service = resources.get("NetworkService")
    if service is not None:
        identity = _driver_argument(target, "SSHDriver", "keyfile")
        options = SshOptions(known_hosts, Path(identity) if identity else None)
        return SshLink(Address(str(service.address), str(service.username) or None, int(service.port)), options)
    serial = resources.get("RawSerialPort")
    if serial is not None:
        return SerialLink(str(serial.port), int(serial.speed), "root", password)
    kinds = ", ".join(sorted(resources)) or "none"
    raise LinkError(
        f"place '{place}' has neither NetworkService nor RawSerialPort (its resources: {kinds}): for what an exporter "
        "serves, acquire the place and name its address by ssh: or serial:"
    )


def _driver_argument(target: Any, driver: str, name: str) -> str:
    config = target.env.config.get_targets().get(target.name, {}).get("drivers") or {}
    rows = config.items() if isinstance(config, dict) else (item for row in config for item in row.items())
    for kind, arguments in rows:
        if kind == driver and isinstance(arguments, dict) and arguments.get(name):
            return str(target.env.config.resolve_path(arguments[name]))
    return ""


def _from_environment() -> Path:
    import os

    value = os.environ.get(ENVIRONMENT_VARIABLE)
    if not value:
        raise LinkError("target labgrid: needs an environment file: --labgrid-config FILE, or set LG_ENV")
    return Path(value)
