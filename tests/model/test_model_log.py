# SPDX-License-Identifier: GPL-2.0-or-later
"""The log's forms by version and architecture, and the last words of a task."""

import pytest

from dmasafe.dmesg import parse_records
from dmasafe.model import Config, KernelDied, ModelKernel
from dmasafe.model.log import (
    KERN_ALERT,
    KERN_CRIT,
    KERN_ERR,
    KERN_INFO,
    KERN_WARNING,
    Place,
    Report,
)


def report(text="something %d", values=(1,), **more):
    return Report("other", "dev", "drv", text, values, Place("a.c", 7, "f"), ("caller+0x0/0x0",), **more)


def lines(kernel):
    """(level, text) of what the log holds."""
    return [(int(record[0]), record.split(";", 1)[1]) for record in kernel.log.take()]


def test_levels_are_those_of_kern_levels_h():
    assert (KERN_ALERT, KERN_CRIT, KERN_ERR, KERN_WARNING, KERN_INFO) == (1, 2, 3, 4, 6)


@pytest.mark.parametrize(
    ("arch", "version", "wanted"),
    [
        ("x86_64", (6, 18), ["message", "WARNING: CPU: 0 PID: 35 at a.c:7 f+0x0/0x0"]),
        ("x86_64", (6, 19), ["message", "WARNING: a.c:7 at f+0x0/0x0, CPU#0: agent/35"]),
        ("aarch64", (6, 12), ["message", "WARNING: CPU: 0 PID: 35 at a.c:7 f+0x0/0x0"]),
        ("riscv64", (6, 12), ["message", "WARNING: CPU: 0 PID: 35 at a.c:7 f+0x0/0x0"]),
        ("arm64", (6, 12), ["message", "WARNING: CPU: 0 PID: 35 at a.c:7 f+0x0/0x0"]),
        # arch/arm has no trap for WARN(): __warn() prints the place first.
        ("armv7l", (6, 12), ["WARNING: CPU: 0 PID: 35 at a.c:7 f+0x0/0x0", "message"]),
    ],
)
def test_a_warning_begins_as_its_version_and_architecture_have_it(arch, version, wanted):
    kernel = ModelKernel(Config(arch=arch, version=version))
    kernel.log.warn(report("message", ()))
    texts = [text for level, text in lines(kernel) if level == KERN_WARNING]
    assert texts[:3] == ["------------[ cut here ]------------", *wanted]
    rest = ["Modules linked in: dmasafe_client(O) dmasafe_controller(O)", "CPU: 0 PID: 35 Comm: agent"]
    assert texts[3:] == [
        *rest,
        *["RIP: 0010:f+0x0/0x0"] * (arch == "x86_64"),
        "Call Trace:",
        " caller+0x0/0x0",
        "---[ end trace 0000000000000000 ]---",
    ]


@pytest.mark.parametrize(("version", "zero"), [((5, 10), False), ((5, 18), False), ((5, 19), True), ((6, 1), True)])
def test_the_end_of_a_trace_has_a_number_that_became_zero(version, zero):
    kernel = ModelKernel(Config(version=version))
    kernel.log.warn(report())
    (end,) = [text for _level, text in lines(kernel) if "end trace" in text]
    assert (end == "---[ end trace 0000000000000000 ]---") is zero


def test_a_report_of_several_lines_is_several_records_and_one_without_text_has_none():
    kernel = ModelKernel()
    kernel.log.warn(report("one %d\ntwo %d", (1, 2), mapped_at=("maker+0x0/0x0",)))
    kernel.log.warn(report("", ()))
    texts = [text for _level, text in lines(kernel)]
    assert texts[1:4] == ["one 1", "two 2", "WARNING: CPU: 0 PID: 35 at a.c:7 f+0x0/0x0"]
    second = texts.index("------------[ cut here ]------------", 1)
    assert texts[second - 2 : second] == ["DMA-API: Mapped at:", " maker+0x0/0x0"]
    assert texts[second + 1].startswith("WARNING:") and "DMA-API: Mapped at:" not in texts[second:]


def test_a_function_of_a_module_is_named_with_it():
    assert Place("a.c", 1, "f").symbol() == "f+0x0/0x0"
    assert Place("a.c", 1, "f", "mod").symbol() == "f+0x0/0x0 [mod]"


def test_dmesg_shows_what_was_not_taken_and_leaves_it():
    kernel = ModelKernel()
    kernel.log.printk(KERN_INFO, "first")
    kernel.log.printk(KERN_ERR, "second")
    shown = "[    1.000000] first\n[    1.000007] second\n"
    assert kernel.dmesg() == shown == kernel.dmesg()
    assert kernel.log.take() == ["6,0,1000000,-;first", "3,1,1000007,-;second"]
    assert kernel.log.take() == [] and kernel.dmesg() == ""
    kernel.log.printk(KERN_INFO, "third")
    assert kernel.dmesg() == "[    1.000014] third\n"
    assert kernel.log.take() == ["6,2,1000014,-;third"]


def test_only_what_has_a_class_counts_as_a_report():
    kernel = ModelKernel()
    kernel.log.printk(KERN_INFO, "chatter")
    kernel.log.printk(KERN_ERR, "gave up", "debug-disabled")
    kernel.log.warn(report())
    assert [entry.splat_class for entry in kernel.log.reports()] == ["debug-disabled", "other"]


def test_a_restored_kernel_logs_from_the_beginning_and_says_once_only_things_again():
    kernel = ModelKernel()
    state = kernel.save()
    records = []
    for _ in range(2):
        assert kernel.log.first_time("site") and not kernel.log.first_time("site")
        assert kernel.log.first_time("another site")
        kernel.log.printk(KERN_INFO, "a line")
        records.append(kernel.log.take())
        kernel.log.printk(KERN_INFO, "left behind")
        kernel.restore(state)
        assert kernel.log.entries == []
    assert records[0] == records[1]
    kernel.log.first_time("site")
    kernel.log.clear_warn_once()
    assert kernel.log.first_time("site")


# Faults: (write, protected) -> error code, access, kind.
FAULTS = [
    (False, False, "0x0000", "read", "not-present page"),
    (False, True, "0x0001", "read", "permissions violation"),
    (True, False, "0x0002", "write", "not-present page"),
    (True, True, "0x0003", "write", "permissions violation"),
]


@pytest.mark.parametrize("arch", ["x86_64", "i686", "amd64"])
@pytest.mark.parametrize(("write", "protected", "code", "access", "kind"), FAULTS)
def test_a_page_fault_of_x86_says_what_was_tried_and_why_it_failed(arch, write, protected, code, access, kind):
    """arch/x86/mm/fault.c show_fault_oops() and the bits of asm/trap_pf.h."""
    kernel = ModelKernel(Config(arch=arch))
    with pytest.raises(KernelDied, match="the calling task died: BUG: unable to handle page fault"):
        kernel.oops.page_fault(0x1000, write, protected)
    found = lines(kernel)
    assert found[:4] == [
        (KERN_ALERT, "BUG: unable to handle page fault for address: 0000000000001000"),
        (KERN_ALERT, f"#PF: supervisor {access} access in kernel mode"),
        (KERN_ALERT, f"#PF: error_code({code}) - {kind}"),
        (KERN_WARNING, f"Oops: Oops: {code[2:]} [#1] SMP"),
    ]
    rest = ["CPU: 0 PID: 35 Comm: agent", "RIP: 0010:memcpy_orig+0x0/0x0", "Call Trace:"]
    rest += [" __i2c_transfer+0x0/0x0", " i2c_transfer+0x0/0x0", "---[ end trace 0000000000000000 ]---"]
    assert found[4:] == [(KERN_WARNING, text) for text in rest]


@pytest.mark.parametrize(("address", "null"), [(0, True), (4095, True), (4096, False)])
def test_a_fault_in_the_first_page_is_a_null_pointer(address, null):
    kernel = ModelKernel()
    with pytest.raises(KernelDied):
        kernel.load(address, 1)
    assert ("NULL pointer dereference" in kernel.dmesg()) is null


@pytest.mark.parametrize(
    ("arch", "write", "protected", "text"),
    [
        ("aarch64", True, True, "write to read-only memory"),
        ("aarch64", False, True, "paging request"),
        ("aarch64", True, False, "paging request"),
        ("armv7l", False, False, "paging request"),
    ],
)
def test_a_fault_of_arm_is_worded_otherwise(arch, write, protected, text):
    """arch/arm64/mm/fault.c die_kernel_fault()."""
    kernel = ModelKernel(Config(arch=arch))
    with pytest.raises(KernelDied):
        kernel.oops.page_fault(0x4000, write, protected)
    found = lines(kernel)
    assert found[0] == (KERN_ALERT, f"Unable to handle kernel {text} at virtual address 0000000000004000")
    assert found[1] == (KERN_WARNING, f"Internal error: Oops: {write << 1 | protected:016x} [#1] SMP")


def test_a_fault_of_riscv_says_nothing_of_what_was_tried():
    """arch/riscv/mm/fault.c die_kernel_fault(), arch/riscv/kernel/traps.c die()."""
    kernel = ModelKernel(Config(arch="riscv64"))
    with pytest.raises(KernelDied):
        kernel.oops.page_fault(0x4000, True, True)
    text = "Unable to handle kernel paging request at virtual address 0000000000004000"
    assert lines(kernel)[:2] == [(KERN_ALERT, text), (KERN_WARNING, "Oops [#1]")]


@pytest.mark.parametrize(
    ("version", "oops", "function"),
    [
        ((5, 10), "Oops: 0000", "__memcpy"),
        ((6, 3), "Oops: 0000", "__memcpy"),
        ((6, 4), "Oops: 0000", "memcpy_orig"),
        ((6, 9), "Oops: 0000", "memcpy_orig"),
        ((6, 10), "Oops: Oops: 0000", "memcpy_orig"),
    ],
)
def test_an_oops_is_titled_as_its_version_does(version, oops, function):
    kernel = ModelKernel(Config(version=version))
    with pytest.raises(KernelDied):
        kernel.load(0x4000, 1)
    texts = [text for _level, text in lines(kernel)]
    assert f"{oops} [#1] SMP" in texts and f"RIP: 0010:{function}+0x0/0x0" in texts


def test_a_bug_is_a_report_that_the_parser_reads_and_it_ends_the_task():
    kernel = ModelKernel()
    with pytest.raises(KernelDied, match=r"kernel BUG at a\.h:9!"):
        kernel.oops.bug("sg-virt-invalid", "a.h", 9, "sg_set_buf")
    (splat,) = parse_records(records := kernel.log.take())
    assert (splat.file, splat.line, splat.function) == ("a.h", 9, "sg_set_buf")
    texts = [(int(record[0]), record.split(";", 1)[1]) for record in records]
    assert texts[:3] == [
        (KERN_WARNING, "------------[ cut here ]------------"),
        (KERN_CRIT, "kernel BUG at a.h:9!"),
        (KERN_WARNING, "Oops: invalid opcode: 0000 [#1] SMP"),
    ]
