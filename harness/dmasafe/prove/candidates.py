# SPDX-License-Identifier: GPL-2.0-or-later
"""Those of the check's results that the user wants proved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dmasafe.check import CheckResult, check_paths
from dmasafe.prove import ProveError

#: What a board of dmasafe_prove.ko can show: buffers that SPI client drivers hand over.
ON_BOARDS = frozenset({"spi"})
RULES = frozenset({"unsafe-buffer-handed-over"})
KINDS = frozenset({"stack", "rodata", "module-data"})
ROOT = "drivers"

_PLACE = re.compile(r"(?P<file>[^:]+\.[ch])(?::(?P<line>\d+))?")


def find_candidates(tree: Path, wanted: Sequence[str], cache: Path) -> tuple[list[CheckResult], list[CheckResult]]:
    """The candidates in the sources ``tree`` that ``wanted`` names, or all; and all those of the same directories.

    ``wanted`` has places (``drivers/x/y.c``, ``drivers/x/y.c:12``) and files with results of the check, JSON or SARIF.
    Raises ProveError, CheckError.
    """
    known: set[str] = set()
    places: list[tuple[str, int | None]] = []
    for word in wanted:
        match = _PLACE.fullmatch(word)
        if match is not None:
            places.append((match["file"], int(match["line"]) if match["line"] else None))
        else:
            known |= fingerprints(Path(word))
    whole = bool(known) or not wanted
    paths = [tree / ROOT] if whole else sorted({(tree / file).parent for file, _ in places})
    missing = [path for path in paths if not path.is_dir()]
    if missing:
        raise ProveError(f"there is no {missing[0].relative_to(tree)} in {tree}")
    results = [each for each in check_paths(paths, tree, cache if whole else None).results if is_candidate(each)]
    if not wanted:
        return results, results
    chosen = [each for each in results if each.fingerprint in known or any(_at(each, *place) for place in places)]
    lost = [file + (f":{line}" if line else "") for file, line in places if not any(_at(c, file, line) for c in chosen)]
    if lost or not chosen:
        raise ProveError(f"the check says nothing of {', '.join(lost) or ', '.join(wanted)} that a board can show")
    return chosen, results


def is_candidate(result: CheckResult) -> bool:
    """Whether this is the kind of result that a board can show."""
    return result.bus in ON_BOARDS and result.rule in RULES and result.kind in KINDS


def _at(result: CheckResult, file: str, line: int | None) -> bool:
    return result.file == file and line in (None, result.line)


def fingerprints(path: Path) -> set[str]:
    """The fingerprints in a result of ``dmasafe check``, JSON or SARIF. Raises ProveError."""
    try:
        found = json.loads(path.read_bytes())
        return set(_fingerprints(found))
    except OSError as error:
        raise ProveError(f"cannot read {path}: {error.strerror}; a place is FILE.c or FILE.c:LINE") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProveError(f"{path} is no result of 'dmasafe check', neither JSON nor SARIF") from error


def _fingerprints(found: dict[str, Any]) -> Iterable[str]:
    if "runs" in found:
        return [str(one["partialFingerprints"]["dmasafe/v1"]) for run in found["runs"] for one in run["results"]]
    return [str(one["fingerprint"]) for one in found["results"]]
