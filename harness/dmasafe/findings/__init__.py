# SPDX-License-Identifier: GPL-2.0-or-later
"""What upstream gets wrong: a catalogue in which each finding says how it is proved, and the page of the proved ones.

A finding that was not reproduced is not listed, whatever the catalogue says of it.
"""

from dmasafe.findings.catalogue import CatalogueError, Finding, Proof, ProofScenario, load
from dmasafe.findings.evidence import Evidence, Report, from_program, from_rows
from dmasafe.findings.page import to_json, to_markdown

__all__ = [
    "CatalogueError",
    "Evidence",
    "Finding",
    "Proof",
    "ProofScenario",
    "Report",
    "from_program",
    "from_rows",
    "load",
    "to_json",
    "to_markdown",
]
