# SPDX-License-Identifier: GPL-2.0-or-later
"""What every SARIF 2.1.0 log of dmasafe has in common. Files are those of the kernel's source tree, below SRCROOT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from dmasafe.audit import Rule
from dmasafe.report.text import visible

SARIF_VERSION = "2.1.0"
# The specification's own name for its schema.
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def document(rules: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], **more: Any) -> str:
    """A log of one run; ``more`` is what else the run says."""
    run = {
        "tool": {"driver": {"name": "dmasafe", "rules": rules}},
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "the kernel's source tree"}}},
        **more,
        "results": results,
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": SARIF_VERSION, "runs": [run]}, indent=2)


def rule(slug: str, told: Rule) -> dict[str, Any]:
    """A rule of the audit's or of the check's."""
    return {
        "id": slug,
        "shortDescription": {"text": told.short},
        "fullDescription": {"text": told.text},
        "help": {"text": f"{told.text}\n\n{told.fix}"},
    }


def physical(file: str, line: int | None) -> dict[str, Any]:
    """A place in a file: one of the tree, unless its path is absolute."""
    path = PurePosixPath(visible(file))
    artifact = (
        {"uri": path.as_uri()}
        if path.is_absolute()
        else {"uri": quote(str(path), safe="/+,@=~"), "uriBaseId": "SRCROOT"}
    )
    return {"artifactLocation": artifact, **({"region": {"startLine": line}} if line else {})}


def location(function: str, module: str | None, file: str | None, line: int | None) -> dict[str, Any]:
    """A function, and where it is if that is known."""
    name = f"{module}:{function}" if module else function
    made: dict[str, Any] = {"logicalLocations": [{"name": visible(function), "fullyQualifiedName": visible(name)}]}
    if file:
        made["physicalLocation"] = physical(file, line)
    return made
