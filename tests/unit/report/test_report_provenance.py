# SPDX-License-Identifier: GPL-2.0-or-later
"""Where results come from is in the file, and comes back from it."""

import json
import re
import sys
from dataclasses import replace

from click.testing import CliRunner
from report_samples import passed

from dmasafe.cli import group
from dmasafe.report import json_report
from dmasafe.report.provenance import Host, Provenance, Tool, provenance


def test_the_file_says_it_and_gives_it_back(with_rows, tmp_path):
    whole = Provenance(Tool("1.0", None), "7.2", Host("Debian 12", "some processor", "tcg"), "dmasafe run")
    results = with_rows(passed(), provenance=whole)
    json_report.write(results, tmp_path / "r.json")
    assert json_report.load(tmp_path / "r.json").provenance == whole
    told = json.loads((tmp_path / "r.json").read_text())["provenance"]
    assert told["qemu"] == "7.2" and told["host"]["accelerator"] == "tcg" and told["dmasafe"]["revision"] is None
    # Earlier versions said nothing.
    json_report.write(replace(results, provenance=None), tmp_path / "old.json")
    assert "provenance" not in json.loads((tmp_path / "old.json").read_text())
    assert json_report.load(tmp_path / "old.json").provenance is None


def test_it_is_this_machine_s_and_has_no_passwords(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/dmasafe", "run", "--kernel", "git:https://me:secret@host/linux.git@v6.12"])
    found = provenance("kvm", "10.0")
    assert found.command == "dmasafe run --kernel git:https://...@host/linux.git@v6.12"
    assert (found.qemu, found.host.accelerator) == ("10.0", "kvm")
    assert found.host.distribution and found.host.processor and found.dmasafe.version
    assert found.dmasafe.revision is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found.dmasafe.revision)


def test_a_run_of_the_model_has_no_qemu(tmp_path):
    CliRunner().invoke(group, ["run", "--target", "model", "--suite", "smoke", "--results", str(tmp_path)])
    found = json_report.load(tmp_path / "latest" / "results.json").provenance
    assert found is not None and found.qemu is None and found.host.accelerator is None
