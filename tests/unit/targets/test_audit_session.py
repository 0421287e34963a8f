# SPDX-License-Identifier: GPL-2.0-or-later
"""The audit's conversation with a system, played by one that answers as the module does."""

from pathlib import Path

import pytest

from dmasafe.audit import AuditError, judge
from dmasafe.dmesg import Symbols
from dmasafe.outcome import Frame, Splat
from dmasafe.progress import SILENT
from dmasafe.targets.audit import audit, load, parameters, running, waiting, with_lines
from dmasafe.targets.gathered import OUTSIDE

RECORDED = (Path(__file__).parents[2] / "fixtures/audit/recorded-6.12-thermo-and-at24.json").read_text()
PIECE = 1000
SYMBOLS = {"re": "symbols", "errno": 0, "__per_cpu_start": "0x0", "__per_cpu_end": "0x24000"} | {
    name: hex(0xFFFFFFFF81000000 + 0x100000 * number)
    for number, name in enumerate(
        ("_stext", "_etext", "__start_rodata", "__end_rodata", "_sdata", "_edata", "__bss_start", "__bss_stop")
    )
}


class _Gathered:
    def __init__(self):
        self.records = {OUTSIDE: ["an old record"]}
        self.lost_log = "something old"


class System:
    """Answers requests; ``refuse`` maps an op, or an op and its path, to an errno."""

    def __init__(self, record=RECORDED, refuse=(), status="0", cmdline="quiet"):
        self.record, self.refuse, self.status, self.cmdline = record, dict(refuse), status, cmdline
        self.adapters = {"dmasafe": 1, "virtio": 0}
        self.gathered = _Gathered()
        self.requests = []
        self.files = {}

    def request(self, op, **arguments):
        self.requests.append((op, arguments))
        path = arguments.get("path", "")
        errno = self.refuse.get(op, self.refuse.get((op, Path(path).name), 0))
        if op == "symbols":
            return SYMBOLS
        if op == "read":
            start = arguments["offset"]
            piece = self.record[start : start + PIECE]
            return {"errno": errno, "data": piece, "more": start + PIECE < len(self.record)}
        if op == "append":
            self.files[path] = self.files.get(path, "") + arguments["data"]
        if op == "command":
            return {"errno": errno, "status": 0, "output": "77\n"}
        return {"errno": errno}

    def read(self, path):
        if path == "/proc/cmdline":
            return self.cmdline
        return self.status if path.endswith(".status") else "said"

    def did(self, op):
        return [arguments for name, arguments in self.requests if name == op]


def test_a_command_is_run_with_the_buses_named_and_its_record_read_in_pieces():
    system = System(status="3")
    outcome = audit(system, "/modules/dmasafe_audit.ko", running("cat $DMASAFE_BUS", 5.0), SILENT)
    assert (outcome.status, outcome.output) == (3, "said")
    assert outcome.record.messages == 8 and len(system.did("read")) > 1
    assert "DMASAFE_BUS=1 VIRTIO_BUS=0 sh -c 'cat $DMASAFE_BUS'" in system.did("command")[0]["command"]
    order = [op for op, _ in system.requests]
    assert order.index("load") < order.index("command") < order.index("read") < order.index("unload")


def test_what_the_kernel_said_before_is_not_the_audits():
    assert audit(System(), "x.ko", waiting(0.01), SILENT).splats == ()


def test_a_command_that_fails_makes_the_audit_inconclusive():
    record = audit(System(status="3"), "x.ko", running("false", 5.0), SILENT).record
    assert any("ended with status 3" in why for why in judge(record, "6.12.117").distrust)


def test_a_log_with_gaps_makes_the_audit_inconclusive():
    def workload(session, progress):
        session.gathered.lost_log = "log records 7 to 9 are missing"
        return 0, ""

    record = audit(System(), "x.ko", workload, SILENT).record
    assert any("records 7 to 9" in why for why in judge(record, "6.12.117").distrust)
    assert judge(audit(System(), "x.ko", waiting(0.01), SILENT).record, "6.12.117").distrust == ()


def test_a_log_that_was_not_kept_whole_makes_the_audit_inconclusive(monkeypatch):
    monkeypatch.setattr("dmasafe.targets.audit.MAX_RECORDS_PER_SCENARIO", 2)

    def workload(session, progress):
        session.gathered.records[OUTSIDE] = ["6,1,0,-;one", "6,2,0,-;two"]
        return 0, ""

    record = audit(System(), "x.ko", workload, SILENT).record
    assert any("more than 2 records" in why for why in judge(record, "6.12.117").distrust)


def test_a_command_that_does_not_end_is_said():
    system = System(status="")
    with pytest.raises(AuditError, match="did not end within"):
        audit(system, "x.ko", running("sleep 9", 0.3), SILENT)
    assert "kill -KILL -77" in [arguments["command"] for arguments in system.did("command")]


def test_ctrl_c_ends_the_command_and_keeps_the_record(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dmasafe.targets.audit.time.sleep", interrupted)
    system = System(status="")
    outcome = audit(system, "x.ko", running("sleep 9", 60.0), SILENT)
    assert outcome.status is None and outcome.record.messages == 8
    assert "kill -KILL -77" in [arguments["command"] for arguments in system.did("command")]


@pytest.mark.parametrize(
    ("refuse", "why"),
    [
        ({"load": 8}, "refused x.ko: Exec format error"),
        ({("write", "watch"): 2}, "is debugfs mounted"),
        ({"command": 2}, "no shell"),
        ({("read", "messages"): 5}, "refused to read .*/messages: Input/output error"),
    ],
)
def test_what_the_system_refuses_ends_in_one_sentence(refuse, why):
    with pytest.raises(AuditError, match=why):
        audit(System(refuse=refuse), "x.ko", running("true", 5.0), SILENT)


def test_a_record_that_never_ends_is_bounded(monkeypatch):
    monkeypatch.setattr("dmasafe.targets.audit.MAX_RECORD_BYTES", 1500)
    with pytest.raises(AuditError, match="has more than"):
        audit(System(), "x.ko", waiting(0.01), SILENT)


def test_sections_and_sizes_are_told_to_the_module_only_where_they_are_known():
    words = parameters(SYMBOLS, "quiet", 64).split()
    assert words[0] == "rows=64" and words[-1] == "object_sizes=1"
    assert words[1].startswith("image=0xffffffff81000000,") and words[1].count(",") == 7
    assert words[2] == "percpu=0x0,0x24000"
    assert parameters({"errno": 0}, "quiet slub_debug=U", 64) == "rows=64"
    assert parameters({"errno": 0}, None, 64) == "rows=64"


def test_a_module_under_test_arrives_whole_and_is_removed(tmp_path):
    module = tmp_path / "thermo.ko"
    module.write_bytes(bytes(range(256)) * 100)
    system = System()
    load(system, module)
    (path,) = system.files
    assert system.files[path].encode("latin-1") == module.read_bytes()
    assert system.did("load")[0]["path"] == path
    assert path in system.did("command")[0]["command"]


class _Resolver(Symbols):
    """Names an inlined call of the core's and one of the driver's in every frame of module thermo."""

    def __init__(self, inline="include/linux/i2c.h"):
        super().__init__(None, {})
        self._inline = inline

    def resolve(self, splats):
        return [Splat("other", None, None, "", frames=self._frames(splat)) for splat in splats]

    def _frames(self, splat):
        frames = []
        for frame in splat.frames:
            if frame.module == "thermo":
                frames.append(Frame("inline_of_the_core", file=self._inline, line=94, module="thermo"))
                frames.append(Frame("thermo_measure", file="thermo.c", line=21, module="thermo"))
            frames.append(frame)
        return tuple(frames)


@pytest.mark.parametrize("inline", ["include/linux/i2c.h", "include/linux/regmap.h"])
def test_the_caller_is_the_innermost_function_that_is_not_the_i2c_cores(inline):
    record = with_lines(audit(System(), "x.ko", waiting(0.01), SILENT).record, _Resolver(inline))
    assert [kind.blamed.function for kind in record.kinds[:3]] == ["thermo_measure", "thermo_measure", "at24_read"]
    assert record.kinds[0].blamed.line == 21
