# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose call it was: the first frame of a splat that is not machinery every such call passes through.

MACHINERY is for reports about DMA; each row says why its functions are never the ones to look at. Every other report
is of one of the KINDS, whose rows say who prints it, which stack counts, and what is passed over there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from dmasafe.dmesg.headers import read_frame, read_place
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
    to run the driver at all: beyond them nobody is to blame. ``prints`` rows are never the answer, not even the last
    one. ``dma`` rows are what every DMA mapping passes through.
    """

    why: str
    names: tuple[str, ...]
    modules: tuple[str, ...] = ()
    caller: bool = False
    prints: bool = False
    dma: bool = False


MACHINERY = (
    Machinery(
        "prints the report",
        (
            "__report_bug", "__show_", "__unwind_start", "__warn", "dump_backtrace", "dump_stack", "print_report",
            "report_bug", "show_stack", "show_trace", "unwind_backtrace", "unwind_frame", "walk_stackframe",
            "warn_slowpath", "__dump_stack", "show_regs", "bad_to_user",
            "kasan_", "__asan_", "__kasan_", "__ubsan_", "ubsan_", "refcount_warn_saturate", "kmsan_", "__kcsan_",
            "__tsan_", "kfence_", "panic$", "nmi_panic", "vpanic$", "check_panic_on_warn",
        ),
        prints=True,
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
        prints=True,
    ),
    Machinery(
        "is dma-debug, the checker: kernel/dma/debug.c",
        (
            "debug_dma_", "check_unmap", "check_sync", "check_for_stack", "check_for_illegal_area", "check_sg_segment",
            "check_mapping_error", "add_dma_entry", "active_cacheline_", "dma_entry_", "dma_debug_",
            "__dma_entry_alloc", "err_printk",
        ),
        dma=True,
    ),
    Machinery("is the strict machine: images/strict/", ("dmasafe_strict_",), ("dmasafe_strict",), dma=True),
    Machinery(
        "is the DMA API and what implements it: kernel/dma/, drivers/iommu/dma-iommu.c, arch/arm/mm/, mm/dmapool.c",
        (
            "dma_map_", "dma_unmap_", "dma_sync_", "__dma_sync_", "__dma_map_", "__dma_alloc_", "dma_alloc_",
            "dma_free_", "dma_direct_", "dmam_", "dma_pool_", "dma_mapping_error", "dma_mmap_", "dma_release_",
            "pci_map_", "pci_unmap_", "pci_dma_", "swiotlb_", "iommu_dma_", "arm_dma_", "___dma_", "__swiotlb_",
            "arch_sync_dma_", "nommu_map_", "x86_swiotlb_", "intel_map_", "amd_iommu_", "gart_", "__arm_dma_",
            "arm_nommu_dma_", "arm_iommu_", "arm_coherent_dma_", "arm_coherent_iommu_", "__iommu_", "nommu_alloc_",
            "nommu_free_", "dma_common_", "pool_free_page", "dma_mark_clean", "v7_dma_", "__dma_page_",
        ),
        dma=True,
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
        "frees for its caller: mm/, drivers/base/devres.c, the tracepoints there",
        (
            "kfree", "kvfree", "vfree", "kmem_cache_free", "__free_pages", "free_pages", "___free_pages", "free_unref_",
            "__free_frozen_", "__traceiter_", "devm_kfree",
        ),
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
            "usb_unbind_interface", "usb_generic_driver_probe", "usb_new_device", "hcd_buffer_", "hcd_alloc_coherent",
            "hcd_free_coherent", "map_urb_for_dma", "unmap_urb_for_dma", "rh_urb_", "usb_gadget_map_request",
            "usb_gadget_unmap_request", "usb_ep_",
            "ehci_map_urb_", "ehci_urb_", "xhci_map_urb_", "xhci_urb_", "ohci_urb_", "uhci_urb_",
            "musb_map_urb_", "dwc2_map_urb_", "submit_urb",
        ),
        (
            "usbcore", "udc_core", "ehci_hcd", "ohci_hcd", "uhci_hcd", "xhci_hcd", "xhci_pci", "musb_hdrc", "dwc2",
            "dwc3",
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
            "seq_read", "seq_write", "proc_reg_", "full_proxy_", "do_writev", "kthread", "worker_thread",
            "process_one_work",
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
            "device_add", "device_attach", "device_bind", "device_create", "device_del$", "device_driver_",
            "device_for_",
            "device_initial_probe", "device_links_", "device_register", "device_release", "device_remove",
            "device_resume", "device_suspend", "device_shutdown", "device_unbind", "device_unregister", "__device_",
            "driver_attach", "driver_detach", "driver_probe_", "driver_register", "driver_unregister", "driver_sysfs_",
            "__driver_", "really_probe", "bus_add_", "bus_for_each_", "bus_probe_", "bus_remove_", "bus_rescan_",
            "do_one_initcall", "do_init_module",
            "load_module", "init_module_from_file", "idempotent_init_module", "async_run_entry_fn", "unbind_store",
            "bind_store", "new_device_store", "delete_device_store", "pci_device_", "local_pci_probe",
            "platform_probe", "platform_drv_", "platform_remove", "deferred_probe_", "do_basic_setup",
            "free_module", "pci_bus_", "pci_stop_", "devres_release", "release_nodes",
        ),
        caller=True,
    ),
)  # fmt: skip


class Pick(Enum):
    """Which frame of the chosen stack is blamed."""

    FIRST = "the first that nothing passes over"
    STALLED = "the last before a function that dispatches work: a loop is interrupted anywhere"
    HUNG = "the first that does not wait; whoever waits for RCU or the RTNL is blamed for that"


@dataclass(frozen=True)
class Kind:
    """A kind of report that is not about DMA.

    ``title`` finds it in the report's first line (``WARNING at FILE:LINE FUNCTION`` for a WARNING). ``printed_by`` is
    the kernel's function. ``titled`` says that the title names the function after "in"; ``interrupted`` that only what
    the timer's interrupt stopped counts. ``passed`` are names passed over beside those of EVERYWHERE, as patterns.
    """

    title: re.Pattern[str]
    printed_by: str
    titled: bool = False
    interrupted: bool = False
    passed: re.Pattern[str] | None = None
    pick: Pick = Pick.FIRST


def _kind(
    title: str,
    printed_by: str,
    passed: str = "",
    pick: Pick = Pick.FIRST,
    titled: bool = False,
    interrupted: bool = False,
) -> Kind:
    return Kind(re.compile(title), printed_by, titled, interrupted, re.compile(passed) if passed else None, pick)


_URB = r"^usb_(?:submit_urb|start_wait_urb|bulk_msg|interrupt_msg|control_msg)"
_ALLOCATES = r"alloc|kmem|slab|strn?dup|memdup|create_object|kv?asprintf|pcpu_create|idr_get|list_lru_init|mmap"
_RCU = r"rcu|kmem|slab|k?v?[mcz]alloc"

# The first row that fits counts.
KINDS = (
    _kind(r"KASAN: .*(?:double|invalid)-free", "mm/kasan/report.c kasan_report_invalid_free()",
          r"^slab_|kfree|vunmap|vfree", titled=True),
    _kind(r"KASAN: ", "mm/kasan/report.c kasan_report()",
          r"kernel_fault|tag_check|mem_abort|^el1h?_", titled=True),
    _kind(r"KMSAN: kernel-usb-infoleak", "mm/kmsan/hooks.c kmsan_handle_urb()", _URB + "|alloc_skb"),
    _kind(r"KMSAN: ", "mm/kmsan/report.c kmsan_report()",
          r"alloc_skb|^netlink_(?:ack|rcv_skb)$|_encrypt$|^(?:crypto|cipher|drbg|rng)_"),
    _kind(r"KCSAN: ", "kernel/kcsan/report.c print_report()", titled=True),
    _kind(r"KFENCE: ", "mm/kfence/report.c kfence_report_error()", titled=True),
    _kind(r"memory leak|unreferenced object", "mm/kmemleak.c print_unreferenced()", _ALLOCATES),
    _kind(r"soft lockup|hard LOCKUP", "kernel/watchdog.c watchdog_timer_fn(), watchdog_hardlockup_check()",
          r"apic_timer_interrupt", Pick.STALLED),
    _kind(r"INFO: (?:rcu\w*|RCU) ", "kernel/rcu/tree_stall.h print_cpu_stall(), print_other_cpu_stall()",
          r"apic_timer_interrupt|rcu|^nmi_|backtrace$|^exc_|^asm_|^sched_show_task|^show_", Pick.STALLED,
          interrupted=True),
    _kind(r"stack guard page", "arch/x86/mm/fault.c handle_stack_overflow()", pick=Pick.STALLED),
    _kind(r"corrupted stack end|kernel stack overflow", "kernel/sched/core.c schedule_debug()",
          r"schedule|retint_kernel|bad_stack", Pick.STALLED),
    _kind(r"INFO: task .* blocked ", "kernel/hung_task.c check_hung_task()", pick=Pick.HUNG),
    _kind(r"INFO: task .* can't die ", "kernel/hung_task.c check_killed_task()", r"schedule"),
    _kind(r"spinlock |rwlock ", "kernel/locking/spinlock_debug.c spin_bug(), rwlock_bug()", r"spin_|_lock|_unlock"),
    _kind(r"trying to register non-static key", "kernel/locking/lockdep.c assign_lock_key()", r"stack|lock|IRQ"),
    _kind(r"suspicious RCU usage", "kernel/locking/lockdep.c lockdep_rcu_suspicious()", _RCU),
    _kind(r"scheduling while atomic", "kernel/sched/core.c __schedule_bug()", r"schedule"),
    _kind(r"BUG: using \w+\(\) in preemptible", "lib/smp_processor_id.c check_preemption_disabled()",
          r"preempt|debug_|processor_id|this_cpu"),
    _kind(r"possible (?:circular|recursive)|lock order detected|inconsistent lock state|lock inversion",
          "kernel/locking/lockdep.c print_circular_bug(), print_deadlock_bug(), print_usage_bug()",
          r"^process_one_work$|^(?:flush|drain|destroy)_workqueue"),
    _kind(r"Bad page (?:state|cache|map)", "mm/page_alloc.c bad_page()",
          r"bad_page|(?:free|put|get|update|release)_page|free_unref|^_*folio|truncate_inode_pages|alloc|vmap|page_owner"),
    _kind(r"UBSAN: ", "lib/ubsan.c __ubsan_handle_*()", r"ubsan|overflow"),
    _kind(r"Kernel stack is corrupted in", "kernel/panic.c __stack_chk_fail()", r"stack_chk", titled=True),
    _kind(r"(?:at |in |BUG at )mm/usercopy\.c", "mm/usercopy.c usercopy_abort()", r"usercopy|^__check"),
    _kind(r"lib/debugobjects\.c", "lib/debugobjects.c debug_print_object()",
          r"debug_|rcu|hrtimer_|timer_|work_|percpu_|vunmap|vfree|__free_|kobject_"),
    _kind(r"lib/kobject\.c", "lib/kobject.c kobject_get(), kobject_put()", r"kobject_"),
    _kind(r"fs/proc/generic\.c", "fs/proc/generic.c proc_register(), remove_proc_entry()", r"proc_"),
    _kind(r"lib/refcount\.c|include/linux/refcount\.h", "lib/refcount.c refcount_warn_saturate()",
          r"refcount|kobject_"),
    _kind(r"kernel/locking/lockdep\.c|Invalid wait context", "kernel/locking/lockdep.c __lock_acquire()",
          r"^lock_sock|^release_sock"),
    _kind(r"WARNING at mm/\S+ \w*alloc", "mm/page_alloc.c warn_alloc()", r"malloc|krealloc|slab|kmem"),
    _kind(r"WARNING at \S+ usb_submit_urb", "drivers/usb/core/urb.c usb_submit_urb()", _URB),
    _kind(r"kernel BUG at net/core/skbuff|skb_(?:over|under)_panic", "net/core/skbuff.c skb_panic()", r"^_*p?skb_"),
    _kind(r"kernel BUG at lib/list_debug\.c", "lib/list_debug.c __list_add_valid()"),
    _kind(r"kernel BUG at lib/string|detected buffer overflow", "lib/string_helpers.c fortify_panic()", r"fortify"),
    _kind(r"kernel BUG at ", "lib/bug.c report_bug()", r"^skb_"),
    _kind(r"Call of |CFI failure", "kernel/cfi.c report_cfi_failure()", r"cfi"),
    _kind(r"", "kernel/panic.c __warn(), arch/*/kernel/ die()"),
)  # fmt: skip

# Anywhere in the name, or where ^ and $ say: what no report of whatever kind is the fault of.
EVERYWHERE = (
    ("sanitizers and other checkers: mm/kasan/, mm/kmsan/, kernel/kcsan/, mm/usercopy.c, mm/slub.c",
     r"__sanitizer|__asan|kasan|hwasan|__msan|kmsan|kcsan|__tsan|^kfence_|check_memory_region|check_heap_object"
     r"|check_object|read_word_at_a_time|_once_.*nocheck|debug_object|_is_static_object|__phys_addr"
     r"|print_address_description|fortify_(?:panic|report)"),
    ("prints: kernel/panic.c, kernel/printk/, lib/dump_stack.c, lib/vsprintf.c, lib/bug.c",
     r"panic|report_bug|fixup_bug|print_report|print_usage_bug|show_stack|dump_stack|dump_backtrace|walk_stack"
     r"|unwind_backtrace|warn_slowpath|warn_alloc|warn_bogus|__warn|string|pointer|sc?nprintf|kv?asprintf|printk"
     r"|va_format|^_?dev_(?:info|notice|warn|err|alert|crit|emerg)|hex_dump|print_tainted|get_taint$|assertfail"
     r"|stack_trace_|arch_stack_walk|^show_regs|^bug_at|^print_bad|^object_err|^slab_err|^slab_bug|^print_trailer"),
    ("traps: arch/*/kernel/traps.c, arch/*/mm/fault.c",
     r"invalid_op|do_error|_trap$|do_trap|program_check_|^asm_exc_|^exc_|^handle_bug|do_(?:kernel|translation)_fault"
     r"|do_mem_abort|^el1_abort|^el1h_64_sync|^__?die\b|^die$|^oops_end|^no_context|^__bad_area|^bad_area"
     r"|^page_fault_oops|^brk_handler|^bug_handler|^call_break_hook|^el1_(?:dbg|brk64|sync)|^do_el1_|^do_undefinstr"
     r"|^__und_|^do_(?:DataAbort|PrefetchAbort)|^__[dp]abt_|^handle_exception|^ret_from_exception"),
    ("allocators: mm/",
     r"alloc_pages?|k?v?[mzc]alloc|krealloc|kmem_cache|allocate_slab|slab_|^kv?free$|kfree_skb|folio_(?:alloc|unlock)"
     r"|filemap_alloc_folio|__filemap_get_folio|__alloc_frozen_pages|pagecache_get_page|grab_cache_page|ida_free"),
    ("locks and their checker: kernel/locking/, include/linux/",
     r"print_unlock|imbalance_bug|lockdep|bh_(?:en|dis)able|lock_acquire|lock_release|lock_class|mark_lock"
     r"|mark_held_locks|reacquire_held_locks|raw_spin_rq|spin_(?:lock|trylock|unlock)|(?:read|write)_(?:lock|trylock|unlock)"
     r"|^down$|^up$|down_(?:read|write|trylock|interruptible|killable)|up_(?:read|write)|^_*mutex_|^_*rt_mutex_|owner_on_cpu"
     r"|osq_(?:un)?lock|rwsem_|(?:trace|lockdep)_(?:hard|soft)irq|^(?:un)?lock_page|^validate_chain|^check_prev|^check_noncircular"
     r"|^print_circular|^print_deadlock|^check_deadlock|^__lock_acquire|might_(?:sleep|fault|resched)|seqprop_assert|^_raw_"),
    ("counts and bits: lib/refcount.c, include/linux/atomic/, include/asm-generic/bitops/",
     r"atomic(?:64|_long)?_(?:dec|inc|read|set|or|xor|and|add|sub|fetch|xchg|cmpxchg|try)|(?:set|clear|change|test)_bit"
     r"|^__?refcount_|^refcount_|^kref_|ref_tracker|instrument_"),
    ("copies: lib/string.c, lib/iov_iter.c, include/linux/uaccess.h",
     r"mem(?:cpy|cmp|set|chr|move|dup)|str(?:n?cmp|l?cpy|ncpy|scpy|n?len|n?str|r?chr|n?dup)|copy_(?:page_|folio_)?(?:to|from)_"
     r"|^copy(?:in|out)$|(?:put|get)_user|rep_movs|^_*copy_user|__clear_user|^(?:read|write)[bwlq]$|logic_(?:in|out)"
     r"|^crc\d+|crc_itu_t|extract_(?:user|iter)_to_sg"),
    ("lists, trees and tables: lib/list_debug.c, lib/rbtree.c, lib/klist.c, lib/xarray.c",
     r"list_(?:add|del|replace|move|splice)|^__list_|^_*rb_|^klist_|xas_(?:start|load|find)|rhashtable_lookup"),
    ("waits, works and timers: kernel/workqueue.c, kernel/time/timer.c, kernel/sched/",
     r"__wake_up|del_timer|flush_work|cancel_(?:delayed_)?work|try_to_grab_pending|(?:flush|drain|destroy)_workqueue|queue_work"
     r"|insert_work|queue_delayed_work|finish_wait|kthread_stop|^complete$|wait_for_completion|lock_timer_base"
     r"|__timer_delete_sync|timer_delete|__mod_timer|sk_stop_timer_sync"),
    ("objects that others own: lib/kobject.c, drivers/base/core.c, fs/sysfs/, fs/inode.c, net/core/dev.c",
     r"kobject_|add_uevent_var|get_device_parent|device_(?:add|del|unregister|destroy|release|remove_file|for_each_child)"
     r"|devres_release_all|hwrng_unregister|i2c_del_adapter|__unregister_client|rollback_registered|unregister_netdev"
     r"|sysfs_remove|tty_unregister_device|^put_device$|^iput$|^iput_final$|^ihold$|drop_nlink|dput|cleanup_srcu_struct"
     r"|find_lock_entries|truncate_inode_pages_range"),
    ("hands buffers to USB devices: drivers/usb/core/",
     r"dummy_urb_enqueue|usb_kill_urb|usb_kill_anchored_urbs|usb_control_msg|usb_hcd_submit_urb|usb_submit_urb"),
    ("ways to call: retpolines, probes", r"_indirect_thunk_|perf_trace"),
    ("the DMA API of arm, whose warnings name it: arch/arm/mm/dma-mapping*.c",
     r"^(?:__)?arm_(?:nommu_|coherent_|iommu_)?(?:dma|iommu)_|^dma_(?:free|alloc|unmap|map)_"),
)  # fmt: skip

# Functions that dispatch what somebody gave them to do: system calls, works, timers, files, sockets, faults.
_DISPATCHES = re.compile(
    r"process_one_work|do_(?:fast_)?syscall_|sysenter_dispatch|tracesys_phase2|el0_svc_handler|invoke_syscall"
    r"|ret_fast_syscall|netif_receive_skb|do_softirq|handle_softirqs|call_timer_fn|_run_timers|run_timer_softirq"
    r"|hrtimer_run|run_ksoftirqd|smpboot_thread_fn|^kthread$|start_secondary|cpu_startup_entry|ret_from_fork|^entry_"
    r"|vfs_(?:write|read|iter_read|iter_write|ioctl|open)|do_iter_(?:read|write)|call_(?:read|write)_iter"
    r"|new_sync_(?:read|write)|ksys_ioctl|compat_(?:sys_)?ioctl|blkdev_(?:driver_)?ioctl|^call_mmap|mmap_region|do_mmap"
    r"|do_dentry_open|^sock_(?:sendmsg|recvmsg|release|mmap|do_ioctl|ioctl)|^__sock_release|^compat_sock_ioctl"
    r"|^(?:__sys_|sys_|SyS_|SYSC_|__[a-z0-9]+_sys_)?(?:setsockopt|listen|accept4?|socketpair|connect|ioctl)$"
    r"|kernel_(?:setsockopt|listen|accept)|sock_common_setsockopt|sk_common_release|^nfnetlink_rcv_msg"
    r"|^rtnetlink_rcv_msg|^netlink_dump|__do_fault|do_page_fault|^page_fault$|__fput|task_work_run|exit_to_usermode"
    r"|tasklet_(?:hi_)?action"
)
_INTERRUPTS = re.compile(r"apic_timer_interrupt|^el1h_64_irq|^__irq_svc")
_WAITS = re.compile(
    r"sched|_lock|_slowlock|down|rwsem|completion|kthread|wait|synchronize|context_switch|__switch_to"
    r"|cancel_delayed_work|rcu_barrier"
)
_AWAITED = re.compile(r"rtnl_lock|synchronize_(?:s?rcu|net|sched)")
_PASSED = re.compile("|".join(pattern for _, pattern in EVERYWHERE))
# Where the title of a report names the function.
_TITLE_NAMES = re.compile(r"\bin:? (?=[A-Za-z_.])")


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
    match = _NAMES.match(_name(frame))
    return MACHINERY[int((match.lastgroup or "row0")[len("row") :])] if match else None


def blame(splat: Splat) -> Blame | None:
    """The function responsible, as far as the trace tells; None if nobody can be blamed.

    First the frames that the kernel is sure of; of a leak, and of what a device did by itself, first those that mapped
    it; then those marked ``?``, if they lie beyond the DMA API; then whatever machinery was nearest to the missing
    caller. Inlined calls (symbols.py) are frames like others.
    """
    if splat.splat_class == "other":
        return _blame_other(splat)
    sure = [frame for frame in splat.frames if frame.reliable]
    traces: list[Sequence[Frame]] = [sure, _stack(splat, "mapped_at")]
    if splat.splat_class in _MAPPER_FIRST:
        traces.reverse()
    traces.append(_beyond(splat.frames))
    for trace in traces:
        found = _first_outside(trace)
        if found is not None:
            return _blamed(found, splat)
    for trace in traces:
        inside = [frame for frame in trace if (row := machinery(frame)) is None or not (row.caller or row.prints)]
        row = machinery(inside[-1]) if inside else None
        if inside and not (row is not None and row.dma):
            return _blamed(inside[-1], splat)
    return _blamed(Frame(splat.function), splat) if splat.function else None


def kind_of(title: str) -> Kind:
    """The row of KINDS for the title of a report."""
    return next(kind for kind in KINDS if kind.title.search(title))


def _blame_other(splat: Splat) -> Blame | None:
    """Whom a report that is not about DMA blames."""
    kind = kind_of(splat.message)
    sure = [frame for frame in splat.frames if frame.reliable] or list(splat.frames)
    # Where symbols have offsets, what has none was inlined into the next one.
    frames = [frame for frame in sure if frame.offset is not None] or sure
    if kind.interrupted:
        last = max((index for index, frame in enumerate(frames) if _INTERRUPTS.search(frame.function)), default=-1)
        frames = frames[last + 1 :]
    named = _TITLE_NAMES.search(splat.message) if kind.titled else None
    place = read_place(splat.message[named.end() :]) if named is not None else None
    if place is None and named is not None:
        word = re.match(r"[\w.]+", splat.message[named.end() :])
        place = Frame(word[0]) if word is not None else None
    if place is not None:
        frames.insert(0, place)
    if kind.pick is Pick.HUNG:
        for frame in frames:
            if _AWAITED.search(frame.function):
                return _blamed(frame, splat)
    found = _pick(kind, frames)
    for stack in ("allocated_at", "freed_at"):
        found = found or _pick(kind, _stack(splat, stack))
    return _blamed(found, splat) if found is not None else None


def _pick(kind: Kind, frames: Sequence[Frame]) -> Frame | None:
    """The frame of a stack that a kind of report blames."""
    found: Frame | None = None
    for frame in frames:
        name = _name(frame)
        if kind.pick is Pick.STALLED and _DISPATCHES.search(name):
            break
        drivers = frame.module is not None and frame.module not in _CORE_MODULES
        if not drivers and (_PASSED.search(name) or (kind.passed is not None and kind.passed.search(name))):
            continue
        if kind.pick is Pick.HUNG and _WAITS.search(name):
            continue
        found = frame
        if kind.pick is not Pick.STALLED:
            break
    return found


# Reported when nobody who is to blame runs.
_MAPPER_FIRST = frozenset((
    "leak-on-release", "strict-unmapped", "strict-overrun", "strict-direction", "strict-leak", "strict-full",
    # Seen when it is unmapped, by whoever waits for the device or in its interrupt.
    "strict-line-lost",
))  # fmt: skip


def _beyond(frames: Sequence[Frame]) -> Sequence[Frame]:
    """The frames after the deepest one of the DMA API: above it, what ``?`` marks cannot be its caller."""
    rows = (machinery(frame) for frame in frames)
    deepest = max((index for index, row in enumerate(rows) if row is not None and row.dma), default=-1)
    return frames[deepest + 1 :]


def _first_outside(frames: Iterable[Frame]) -> Frame | None:
    for frame in frames:
        row = machinery(frame)
        if row is None:
            return frame
        if row.caller and frame.reliable:
            return None
    return None


def _name(frame: Frame) -> str:
    """The function's own name: without the dot of ppc64's first ABI and what compilers append to copies."""
    return _COPY.sub("", frame.function.lstrip("."))


def _stack(splat: Splat, field: str) -> list[Frame]:
    """The frames of a stack that is a field: ``mapped_at``, ``allocated_at``, ``freed_at``."""
    text = splat.fields.get(field, "")
    found = (read_frame(part) for part in str(text).split(" < "))
    return [frame for frame in found if frame is not None]


def _blamed(frame: Frame, splat: Splat) -> Blame:
    file, line = frame.file, frame.line
    # A WARN() of the function's own; one in a header was inlined, and the header is not where the call stands.
    if file is None and frame.function == splat.function and splat.file and not splat.file.endswith(".h"):
        file, line = splat.file, splat.line
    return Blame(frame.function.lstrip("."), frame.module, file, line)
