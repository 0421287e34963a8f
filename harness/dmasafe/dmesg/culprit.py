# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose call it was: the first frame of a splat that is not machinery every such call passes through.

What is machinery is one table, MACHINERY; each row says why its functions are never the ones to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dmasafe.dmesg.headers import read_frame
from dmasafe.outcome import Frame, Splat


@dataclass(frozen=True)
class Blame:
    """The function to look at first; ``file`` and ``line`` (of the call) where the log or symbols.py knew them."""

    function: str
    module: str | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Machinery:
    """Functions by the beginnings of their names (``$`` ends a whole name), and the modules they may live in.

    Code in any other module is a driver's, whatever its functions are called. ``caller`` rows are how the kernel got
    to run the driver at all: beyond them nobody is to blame.
    """

    why: str
    names: tuple[str, ...]
    modules: tuple[str, ...] = ()
    caller: bool = False


MACHINERY = (
    Machinery(
        "prints the report",
        (
            "__report_bug", "__show_", "__unwind_start", "__warn", "dump_backtrace", "dump_stack", "print_report",
            "report_bug", "show_stack", "show_trace", "unwind_", "walk_stackframe", "warn_slowpath", "__dump_stack",
            "kasan_", "__asan_", "__kasan_", "__ubsan_", "ubsan_", "refcount_warn_saturate", "kmsan_", "__kcsan_",
            "__tsan_", "kfence_", "panic$", "nmi_panic", "vpanic$", "check_panic_on_warn",
        ),
    ),
    Machinery(
        "takes the trap that WARN() and BUG() are",
        (
            "asm_exc_", "exc_", "handle_bug", "die$", "__die", "do_error_trap", "do_trap", "do_invalid_op",
            "invalid_op", "fixup_bug", "do_debug_exception", "brk_handler", "bug_handler", "bug_brk_handler",
            "call_break_hook", "el1_brk64", "el1_dbg", "el1h_64_sync", "el1_sync", "do_el1_brk64", "do_break",
            "handle_break", "do_bp", "ret_from_exception", "do_trap_break", "program_check_exception",
            "interrupt_return", "page_fault_oops", "__do_kernel_fault", "do_page_fault", "do_user_addr_fault",
            "do_mem_abort", "do_translation_fault", "oops_end", "no_context", "bad_area", "__bad_area", "error_code",
        ),
    ),
    Machinery(
        "is dma-debug, the checker: kernel/dma/debug.c",
        (
            "debug_dma_", "check_unmap", "check_sync", "check_for_stack", "check_for_illegal_area", "check_sg_segment",
            "check_mapping_error", "add_dma_entry", "active_cacheline_", "dma_entry_", "dma_debug_",
            "__dma_entry_alloc", "err_printk",
        ),
    ),
    Machinery(
        "is the DMA API and what implements it: kernel/dma/, drivers/iommu/dma-iommu.c, mm/dmapool.c",
        (
            "dma_map_", "dma_unmap_", "dma_sync_", "__dma_sync_", "__dma_map_", "__dma_alloc_", "dma_alloc_",
            "dma_free_", "dma_direct_", "dmam_", "dma_pool_", "dma_mapping_error", "dma_mmap_", "dma_release_",
            "pci_map_", "pci_unmap_", "pci_dma_", "swiotlb_", "iommu_dma_", "arm_dma_", "___dma_", "__swiotlb_",
            "arch_sync_dma_", "nommu_map_", "x86_swiotlb_", "intel_map_", "amd_iommu_", "gart_",
        ),
    ),
    Machinery(
        "fills and walks scatterlists for its caller: include/linux/scatterlist.h, lib/scatterlist.c",
        ("sg_init_", "sg_set_", "sg_assign_", "sg_alloc_", "__sg_", "sg_copy_", "sg_miter_", "sg_virt$", "sg_phys$"),
    ),
    Machinery(
        "is asked about an address: include/linux/mm.h, arch/*/mm/",
        ("virt_to_", "__virt_addr_valid", "__phys_addr", "is_vmalloc_", "object_is_on_stack", "phys_to_", "page_to_"),
    ),
    Machinery(
        "copies for its caller: lib/string.c, lib/iov_iter.c, arch/*/lib/",
        ("memcpy", "__memcpy", "memmove", "__memmove", "memset", "__memset", "___memset", "__pi_mem", "strcpy$",
         "strncpy$", "strscpy", "copy_from_", "copy_to_", "_copy_from_", "_copy_to_", "__copy_user", "__arch_copy_",
         "rep_movs", "memdup_user", "kmemdup"),
    ),
    Machinery(
        "maps what virtio drivers queue: drivers/virtio/virtio_ring.c",
        ("virtqueue_", "vring_", "__virtqueue_"),
        ("virtio_ring",),
    ),
    Machinery(
        "is the USB core, which maps the buffers of the drivers that submit them: drivers/usb/core/",
        (
            # Not "usb_": i2c-tiny-usb has functions of its own called usb_read(), usb_write() and usb_xfer().
            "usb_submit_urb", "usb_hcd_", "usb_control_msg", "usb_bulk_msg", "usb_interrupt_msg", "usb_start_wait_urb",
            "usb_internal_control_msg", "usb_sg_", "usb_get_descriptor", "usb_get_string", "usb_get_status",
            "usb_clear_halt", "usb_set_interface", "usb_set_configuration", "usb_probe_interface", "usb_probe_device",
            "usb_unbind_interface", "usb_generic_driver_probe", "usb_new_device", "hub_", "hcd_", "map_urb_for_dma",
            "unmap_urb_for_dma", "ehci_map_urb_", "ehci_urb_", "xhci_map_urb_", "xhci_urb_", "ohci_urb_", "uhci_urb_",
            "musb_map_urb_", "dwc2_map_urb_", "submit_urb",
        ),
        (
            "usbcore", "ehci_hcd", "ohci_hcd", "uhci_hcd", "xhci_hcd", "xhci_pci", "musb_hdrc", "dwc2", "dwc3",
        ),
    ),
    Machinery(
        "is the I2C core, which hands messages through: drivers/i2c/i2c-core-*.c",
        (
            "i2c_transfer", "__i2c_transfer", "i2c_smbus_", "__i2c_smbus_", "i2c_get_dma_safe_msg_buf",
            "i2c_put_dma_safe_msg_buf", "i2c_release_dma_safe_msg_buf", "i2c_master_", "i2c_adapter_",
            "i2c_device_probe", "i2c_device_remove", "i2c_register_adapter", "i2c_add_", "i2c_del_", "i2c_new_",
            "i2c_detect", "i2c_default_probe", "i2c_probe_func_", "i2c_mux_master_xfer", "__i2c_mux_master_xfer",
            "i2c_mux_smbus_xfer",
        ),
        ("i2c_core", "i2c_mux", "i2c_smbus"),
    ),
    Machinery(
        "hands register accesses through: drivers/base/regmap/",
        ("regmap_", "_regmap_", "__regmap_", "devm_regmap_", "__devm_regmap_", "regcache_"),
        ("regmap_i2c", "regmap_core", "regmap_mmio", "regmap"),
    ),
    Machinery(
        "called the driver: system calls, files, threads, timers, interrupts",
        (
            "entry_", "do_syscall_", "x64_sys_", "__x64_sys_", "__ia32_sys_", "__arm64_sys_", "__riscv_sys_",
            "__se_sys_", "__do_sys_", "ksys_", "sys_", "system_call_", "ret_fast_syscall", "el0_", "el0t_",
            "invoke_syscall", "do_el0_svc", "vfs_", "do_iter_", "__vfs_", "new_sync_", "kernfs_", "sysfs_", "dev_attr_",
            "seq_", "proc_", "full_proxy_", "do_writev", "kthread", "worker_thread", "process_one_work",
            "process_scheduled_works", "ret_from_fork", "ret_from_kernel_thread", "ret_to_user", "call_timer_fn",
            "run_timer_softirq", "handle_softirqs", "__do_softirq", "irq_thread", "handle_irq", "__handle_irq",
            "notifier_call_chain", "blocking_notifier_", "bus_notify", "smpboot_thread_fn", "syscall_", "do_int80",
            "handle_sys", "cpu_startup_entry", "start_kernel", "secondary_startup_", "kernel_init", "rest_init",
        ),
        caller=True,
    ),
    Machinery(
        "bound the driver or let it go: drivers/base/, kernel/module/, init/main.c",
        (
            "device_", "__device_", "driver_", "__driver_", "really_probe", "bus_", "do_one_initcall", "do_init_module",
            "load_module", "init_module_from_file", "idempotent_init_module", "async_run_entry_fn", "unbind_store",
            "bind_store", "new_device_store", "delete_device_store", "pci_device_", "local_pci_probe",
            "platform_probe", "platform_drv_", "platform_remove", "deferred_probe_", "do_basic_setup",
            "free_module", "pci_bus_", "pci_stop_", "devres_release", "release_nodes",
        ),
        caller=True,
    ),
)  # fmt: skip

_CORE_MODULES = {module: row for row in MACHINERY for module in row.modules}


def _pattern(names: Iterable[str]) -> str:
    return "|".join(re.escape(name.removesuffix("$")) + (r"\b" if name.endswith("$") else "") for name in names)


_NAMES = re.compile("|".join(f"(?P<row{index}>{_pattern(row.names)})" for index, row in enumerate(MACHINERY)))
# What compilers append to the name of a copy: fn.constprop.0, fn.isra.0.cold.
_COPY = re.compile(r"\.(?:constprop|isra|part|cold|llvm|lto_priv)\b.*")


def machinery(frame: Frame) -> Machinery | None:
    """The row that a frame's function belongs to, None for code that can be at fault."""
    # Without an offset it is an inlined call, and a header's function is compiled into any module.
    if frame.module is not None and (frame.offset is not None or frame.module in _CORE_MODULES):
        return _CORE_MODULES.get(frame.module)
    match = _NAMES.match(_COPY.sub("", frame.function))
    return MACHINERY[int((match.lastgroup or "row0")[len("row") :])] if match else None


def blame(splat: Splat) -> Blame | None:
    """The function responsible, as far as the trace tells; None if the splat names no function at all.

    First the frames that the kernel is sure of; of a leak first those that mapped what leaked; then those marked
    ``?``; then whatever machinery was nearest to the missing caller. Inlined calls (symbols.py) are frames like others.
    """
    frames = splat.frames
    traces: list[Sequence[Frame]] = [[frame for frame in frames if frame.reliable], _mapped_at(splat)]
    if splat.splat_class == "leak-on-release":
        traces.reverse()
    traces.append(frames)
    for trace in traces:
        found = _first_outside(trace)
        if found is not None:
            return _blamed(found, splat)
    for trace in traces:
        inside = [frame for frame in trace if not _is_caller(frame)]
        if inside:
            return _blamed(inside[-1], splat)
    return Blame(splat.function) if splat.function else None


def _first_outside(frames: Iterable[Frame]) -> Frame | None:
    for frame in frames:
        row = machinery(frame)
        if row is None:
            return frame
        if row.caller and frame.reliable:
            return None
    return None


def _is_caller(frame: Frame) -> bool:
    row = machinery(frame)
    return row is not None and row.caller


def _mapped_at(splat: Splat) -> list[Frame]:
    """The frames of "Mapped at:" (the field ``mapped_at``)."""
    text = splat.fields.get("mapped_at", "")
    found = (read_frame(part) for part in str(text).split(" < "))
    return [frame for frame in found if frame is not None]


def _blamed(frame: Frame, splat: Splat) -> Blame:
    file, line = frame.file, frame.line
    # A WARN() of the function's own; one in a header was inlined, and the header is not where the call stands.
    if file is None and frame.function == splat.function and splat.file and not splat.file.endswith(".h"):
        file, line = splat.file, splat.line
    return Blame(frame.function, frame.module, file, line)
