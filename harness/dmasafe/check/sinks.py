# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables: where a buffer must be DMA-safe, who copies, and where memory comes from.

A sink is one row. What subsystems do with a buffer was measured (docs/buses.md, docs/usb.md) or is said by the
document that the row names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_SPI = "include/linux/spi/spi.h: DMA-safe memory"
_USB = "Documentation/driver-api/usb/dma.rst: buffers must be DMA-able"
_MAP = "Documentation/core-api/dma-api-howto.rst: What memory is DMA'able?"
_SG = "include/linux/scatterlist.h: sg_set_buf() takes an address of the linear map"
_I2C = "Documentation/i2c/dma-considerations.rst"
_SDIO = "drivers/mmc/core/sdio_ops.c: mmc_io_rw_extended() calls sg_init_one()"
_HID = "drivers/hid/usbhid/hid-core.c: usbhid_set_raw_report() calls usb_control_msg(); other transports copy"
_MEM = "include/linux/spi/spi-mem.h: must be DMA-able"
_I3C = "include/linux/i3c/device.h: a DMA-able buffer; the controller that does DMA bounces vmalloc memory"
_BLOCK = "block/bio.c: data in the direct kernel mapping"
_PAGE = "Documentation/core-api/dma-api-howto.rst: a page of the linear map"
_SLOW = "docs/buses.md: the core passes the buffer on; no controller in the tree does DMA without a copy"

#: Kinds of memory that a sink takes although DMA must not: vmalloc memory is mapped page by page.
_VMALLOC = frozenset({"vmalloc", "kvmalloc"})


def words(text: str) -> frozenset[str]:
    """The words of ``text``: a table of names."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Sink:
    """A function's argument (``argument`` from 0) or, with a ``struct``, a member that must be DMA-safe.

    ``marked``: only where the message says so (I2C_M_DMA_SAFE). ``bus`` is what the result is counted under.
    ``takes``: kinds of memory that it also takes. ``fix``: what the subsystem prefers. ``weak``: never an error.
    ``bus_init``: only for regmaps that one of these functions made. ``depends``: on the device, so never an error.
    ``runs``: what the function must call for it to be an error; else a controller's driver may do it by itself.
    ``mapped``: it may have been mapped before: coherent memory is no fault. ``needless``: it copies, which a mark in
    the message would spare safe memory. ``direction``: the argument that is DMA_TO_DEVICE if the device only reads.
    ``since``, ``until``: the first and the last version that has it.
    """

    name: str
    argument: int
    bus: str
    document: str
    struct: str = ""
    writes: bool = False
    marked: bool = False
    takes: frozenset[str] = frozenset()
    fix: str = ""
    weak: bool = False
    bus_init: tuple[str, ...] = ()
    depends: bool = False
    runs: tuple[str, ...] = ()
    mapped: bool = False
    needless: bool = False
    direction: int = 0
    since: str = ""
    until: str = ""

    def exists_in(self, release: str) -> bool:
        """Whether kernel ``release`` ("7.3.4"; "" may be any) has it."""
        since, until = _numbers(self.since or release), _numbers(self.until or release)
        return since <= _numbers(release) <= until if release else True

    @property
    def word(self) -> str:
        """As people write it: ``spi_write()``, ``spi_transfer.tx_buf``."""
        return f"{self.struct}.{self.name}" if self.struct else f"{self.name}()"


def _numbers(release: str) -> list[int]:
    return [int(number) for number in release.split(".")[:2] if number]


_SPI_WRITE = "call spi_write_then_read(), which copies, or send a kmalloc'ed or DMA-aligned member"
_SPI_READ = "call spi_write_then_read(), which copies, or read into a kmalloc'ed or DMA-aligned member"
_USB_FIX = "call usb_control_msg_send() or usb_control_msg_recv(), which copy, or use kmalloc() memory"
_HEAP = "use kmalloc() memory"
_UNMARK = "leave the mark out: i2c_master_send() and i2c_master_recv() take any memory; or use kmalloc() memory"
_SPI_RUNS = (
    "spi_sync", "spi_sync_transfer", "spi_sync_locked", "spi_async", "spi_message_add_tail",
    "spi_message_init_with_transfers",
)  # fmt: skip
_MEM_RUNS = ("spi_mem_exec_op",)
_I3C_RUNS = ("i3c_device_do_xfers", "i3c_device_do_priv_xfers")
_MARK = "mark the message with I2C_M_DMA_SAFE, or call i2c_master_send_dmasafe() or i2c_master_recv_dmasafe()"
_REGMAP = "regmap_bulk_write() copies; or use kmalloc() memory"
_REGMAP_SPI = ("devm_regmap_init_spi", "regmap_init_spi", "__devm_regmap_init_spi")
_REGMAP_SPMI = ("devm_regmap_init_spmi_ext", "regmap_init_spmi_ext")


def _calls(bus: str, document: str, fix: str, rows: str, **more: object) -> list[Sink]:
    """``rows``: names with the argument's index, ``<`` for a buffer that is read from and ``>`` for one written to."""
    made = []
    for row in rows.split():
        name, _, number = row.rstrip("<>").partition(":")
        made.append(Sink(name, int(number), bus, document, writes=row.endswith(">"), fix=fix, **more))  # type: ignore[arg-type]
    return made


SINKS: tuple[Sink, ...] = (
    *_calls("spi", _SPI, _SPI_WRITE, "spi_write:1<", takes=_VMALLOC),
    *_calls("spi", _SPI, _SPI_READ, "spi_read:1>", takes=_VMALLOC),
    Sink("tx_buf", 0, "spi", _SPI, "spi_transfer", takes=_VMALLOC, fix=_SPI_WRITE, runs=_SPI_RUNS),
    Sink("rx_buf", 0, "spi", _SPI, "spi_transfer", writes=True, takes=_VMALLOC, fix=_SPI_READ, runs=_SPI_RUNS),
    *_calls("spi-mem", _MEM, _HEAP, "SPI_MEM_OP_DATA_IN:1> SPI_MEM_OP_DATA_OUT:1<", takes=_VMALLOC, runs=_MEM_RUNS),
    *_calls("spi-mem", _MEM, _HEAP, "spi_mem_dirmap_read:3> spi_mem_dirmap_write:3<", takes=_VMALLOC),
    Sink("data.buf.in", 0, "spi-mem", _MEM, "spi_mem_op", writes=True, takes=_VMALLOC, fix=_HEAP, runs=_MEM_RUNS),
    Sink("data.buf.out", 0, "spi-mem", _MEM, "spi_mem_op", takes=_VMALLOC, fix=_HEAP, runs=_MEM_RUNS),
    *_calls("usb", _USB, _USB_FIX, "usb_control_msg:6>"),
    *_calls("usb", _USB, _HEAP, "usb_bulk_msg:2> usb_interrupt_msg:2> usb_get_descriptor:3>"),
    *_calls("usb", _USB, _HEAP, "usb_fill_control_urb:3< usb_fill_control_urb:4> usb_fill_bulk_urb:3>", mapped=True),
    *_calls("usb", _USB, _HEAP, "usb_fill_int_urb:3>", mapped=True),
    Sink("transfer_buffer", 0, "usb", _USB, "urb", writes=True, fix=_HEAP, mapped=True),
    Sink("setup_packet", 0, "usb", _USB, "urb", fix=_HEAP, mapped=True),
    Sink("buf", 0, "usb-gadget", _USB, "usb_request", writes=True, fix=_HEAP, mapped=True),
    *_calls("hid", _HID, _HEAP, "hid_hw_raw_request:2> hid_hw_output_report:1<", depends=True),
    *_calls("dma", _MAP, _HEAP, "dma_map_single:1> dma_map_single_attrs:1> ib_dma_map_single:1>", direction=3),
    *_calls("dma", _MAP, _HEAP, "pci_map_single:1>", until="5.17", direction=3),
    *_calls("dma", _PAGE, _HEAP, "dma_map_page:1> dma_map_page_attrs:1>", direction=4),
    *_calls("sg", _SG, _HEAP, "sg_init_one:1> sg_set_buf:1>", mapped=True),
    *_calls("sg", _PAGE, _HEAP, "sg_set_page:1>", mapped=True),
    *_calls("virtio", _MAP, _HEAP, "virtqueue_dma_map_single_attrs:1>", until="6.17", direction=3),
    *_calls("virtio", _MAP, _HEAP, "virtqueue_map_single_attrs:1>", since="6.18", direction=3),
    *_calls("block", _BLOCK, _HEAP, "bdev_rw_virt:2> bio_add_virt_nofail:1>", since="6.16"),
    *_calls("mmc", _SDIO, _HEAP, "sdio_memcpy_fromio:1> sdio_readsb:1> sdio_memcpy_toio:2< sdio_writesb:2<"),
    *_calls("i2c", _I2C, _UNMARK, "i2c_master_send_dmasafe:1< i2c_master_recv_dmasafe:1>", marked=True),
    Sink("buf", 0, "i2c", _I2C, "i2c_msg", writes=True, marked=True, fix=_UNMARK),
    *_calls("i2c", _I2C, _MARK, "i2c_master_send:1< i2c_master_recv:1>", needless=True),
    Sink("data.in", 0, "i3c", _I3C, "i3c_xfer", writes=True, fix=_HEAP, weak=True, since="6.18", runs=_I3C_RUNS),
    Sink("data.out", 0, "i3c", _I3C, "i3c_xfer", fix=_HEAP, weak=True, since="6.18", runs=_I3C_RUNS),
    Sink("data.in", 0, "i3c", _I3C, "i3c_priv_xfer", writes=True, fix=_HEAP, weak=True, until="6.18", runs=_I3C_RUNS),
    Sink("data.out", 0, "i3c", _I3C, "i3c_priv_xfer", fix=_HEAP, weak=True, until="6.18", runs=_I3C_RUNS),
    *_calls(
        "regmap-spi", "docs/buses.md", _REGMAP, "regmap_raw_write:2< regmap_noinc_write:2<",
        takes=_VMALLOC, bus_init=_REGMAP_SPI,
    ),
    *_calls(
        "regmap-spmi", "docs/buses.md", _REGMAP, "regmap_raw_write:2< regmap_noinc_write:2<",
        bus_init=_REGMAP_SPMI, weak=True,
    ),
    *_calls("spmi", _SLOW, _HEAP, "spmi_ext_register_read:2> spmi_ext_register_write:2<", weak=True),
    *_calls("spmi", _SLOW, _HEAP, "spmi_ext_register_readl:2> spmi_ext_register_writel:2<", weak=True),
    # What the core itself hands to controllers, for itself and for all of these.
    *_calls("spmi", _SLOW, _HEAP, "spmi_read_cmd:4> spmi_write_cmd:4<", weak=True),
    *_calls("slimbus", _SLOW, _HEAP, "slim_read:3> slim_write:3<", weak=True),
    *_calls("w1", _SLOW, _HEAP, "w1_write_block:1< w1_read_block:1>", weak=True),
)  # fmt: skip

CALLS: dict[str, tuple[Sink, ...]] = {
    name: tuple(sink for sink in SINKS if sink.name == name and not sink.struct and not sink.needless)
    for name in {sink.name for sink in SINKS if not sink.struct and not sink.needless}
}
#: The same where the device only reads.
READ: dict[Sink, Sink] = {sink: replace(sink, writes=False) for sink in SINKS if sink.direction}
NEEDLESS: dict[str, Sink] = {sink.name: sink for sink in SINKS if sink.needless}
MEMBERS: dict[tuple[str, str], Sink] = {(sink.struct, sink.name): sink for sink in SINKS if sink.struct}
#: A message without the mark, whose buffer is safe.
UNMARKED = Sink("buf", 0, "i2c", _I2C, "i2c_msg", writes=True, needless=True, fix=_MARK)

#: What begins a search: no function of a file that has none of these can reach a sink by itself.
WORDS: frozenset[str] = (
    frozenset(CALLS)
    | {"I2C_M_DMA_SAFE", "i2c_get_dma_safe_msg_buf", "is_vmalloc_addr", "virt_addr_valid", "object_is_on_stack"}
    | {name.split(".")[0] for _, name in MEMBERS} - {"buf", "data"}
    | {name for sink in SINKS if sink.name.startswith("data.") for name in sink.runs}
)
#: These are searched for where memory is allocated beside them.
ONLY_WITH_MEMORY: frozenset[str] = frozenset(NEEDLESS) | {"i2c_msg"}

#: Who copies the buffer before any DMA, and where that is seen: a flow ends here, and these are no wrappers.
COPYING: dict[str, str] = {
    "docs/buses.md: a buffer of the core's own": "spi_write_then_read spi_w8r8 spi_w8r16 spi_w8r16be",
    "drivers/usb/core/message.c": "usb_control_msg_send usb_control_msg_recv usb_string usb_get_status snd_usb_ctl_msg",
    "Documentation/i2c/dma-considerations.rst": """i2c_transfer __i2c_transfer i2c_master_send i2c_master_recv
        i2c_smbus_xfer""",
    "docs/buses.md: the work buffer of regmap": """regmap_write regmap_read regmap_bulk_write regmap_raw_read
        regmap_bulk_read regmap_noinc_read regmap_multi_reg_write""",
    "docs/buses.md: a bounce buffer for what is not in the linear map": "mtd_write mtd_read mtd_write_oob mtd_read_oob",
    "drivers/tty/tty_port.c: the buffer of the tty": "serdev_device_write serdev_device_write_buf",
    "block/blk-map.c: a copy of what DMA cannot take": "blk_rq_map_kern scsi_execute_cmd",
    "crypto/akcipher.c: a copy; the processor reads it": """crypto_akcipher_sync_encrypt crypto_akcipher_sync_decrypt
        crypto_shash_digest crypto_shash_update""",
    "copies": """kmemdup kmemdup_nul kmemdup_array devm_kmemdup memdup_user memcpy memset memmove strcpy strscpy
        copy_from_user copy_to_user simple_read_from_buffer skb_put_data skb_copy_bits dma_alloc_coherent""",
}
COPIES: frozenset[str] = words(" ".join(COPYING.values()))

#: What a pointer that is declared __user is said to come from.
USER = "__user"

#: Where memory comes from: the kinds are the scenarios' (docs/glossary.md).
ALLOCATORS: dict[str, str] = {
    name: kind
    for kind, names in {
        "heap": """kmalloc kzalloc kcalloc kmalloc_array krealloc kmemdup kmemdup_nul kmemdup_array memdup_user kstrdup
            kmalloc_node kzalloc_node kasprintf kmalloc_obj kzalloc_obj kmalloc_objs kzalloc_objs kmalloc_flex
            kzalloc_flex memdup_user_nul krealloc_array i2c_get_dma_safe_msg_buf spi_alloc usb_alloc_urb""",
        "devm": "devm_kmalloc devm_kzalloc devm_kcalloc devm_kmalloc_array devm_kmemdup devm_krealloc devm_kasprintf",
        "kmem-cache": "kmem_cache_alloc kmem_cache_zalloc mempool_alloc",
        "pages": "__get_free_page __get_free_pages get_zeroed_page alloc_pages_exact page_address devm_get_free_pages",
        "coherent": """dma_alloc_coherent dmam_alloc_coherent dma_alloc_attrs dma_pool_alloc dma_pool_zalloc
            usb_alloc_coherent dma_alloc_noncoherent""",
        "vmalloc": "vmalloc vzalloc vmalloc_user vmalloc_node vzalloc_node vmalloc_array vcalloc __vmalloc vmap",
        "kvmalloc": "kvmalloc kvzalloc kvcalloc kvmalloc_array kvmalloc_node kvmalloc_obj kvzalloc_obj kvzalloc_objs",
        "percpu": "this_cpu_ptr get_cpu_ptr per_cpu_ptr raw_cpu_ptr per_cpu get_cpu_var __get_cpu_var",
        "kmap": "kmap kmap_local_page kmap_atomic kmap_local_folio",
        "stack": "alloca __builtin_alloca",
        "user": f"u64_to_user_ptr {USER}",
    }.items()
    for name in names.split()
}

#: Macros that stand for a variable of each processor's: what they are the address of is percpu memory.
PERCPU = words("per_cpu get_cpu_var __get_cpu_var")

#: Calls that return (a pointer into) their argument of that index.
SAME = {
    "PTR_ALIGN": 0, "ERR_CAST": 0, "skip_spaces": 0, "strim": 0, "min": 0, "rcu_dereference": 0,
    "virt_to_page": 0, "ACCESS_ONCE": 0, "READ_ONCE": 0, "strncpy": 0, "memcpy": 0, "PTR_ALIGN_DOWN": 0,
}  # fmt: skip

#: A function that asks one of these about a pointer decides by the answer: what it then does is not a certain path.
PREDICATES = words(
    """virt_addr_valid object_is_on_stack is_vmalloc_addr is_vmalloc_or_module_addr i2c_get_dma_safe_msg_buf
    i2c_put_dma_safe_msg_buf spi_nor_spimem_bounce is_dma_capable"""
)

#: Structs whose buffers are the business of those who fill them: a driver below may map what they hold.
CONTRACTS = words(
    """spi_transfer spi_message urb usb_request sk_buff bio page scatterlist sg_table mmc_data mmc_request spi_mem_op
    scsi_cmnd request bio_vec crypto_async_request skcipher_request aead_request ahash_request net_device
    vring_desc folio device"""
)

#: What only a driver's state has a member of.
STATE = words(
    """mutex spinlock_t raw_spinlock_t device spi_device usb_device usb_interface i2c_client i2c_adapter net_device
    iio_dev gpio_desc regmap regulator work_struct delayed_work completion clk platform_device pci_dev input_dev
    snd_soc_component hid_device timer_list kref rw_semaphore wait_queue_head_t atomic_t mmc_card sdio_func
    virtio_device dma_chan tasklet_struct rtc_device usb_host_endpoint media_pad v4l2_subdev"""
)

#: Kinds of memory that DMA may touch, as a whole.
SAFE = words("heap devm pages")
#: Kinds of memory of which it depends on the machine: never an error.
DEPENDS = words("kvmalloc percpu kmap coherent")
#: Kinds of memory that DMA must never touch, with what breaks where.
UNSAFE: dict[str, str] = {
    "stack": "a variable on the stack",
    "rodata": "a constant in rodata",
    "module-data": "a static variable",
    "vmalloc": "vmalloc() memory",
    "kvmalloc": "kvmalloc() memory, which may be vmalloc()'s",
    "percpu": "percpu memory",
    "kmap": "a kmap() address",
    "user": "a pointer of user space",
    "coherent": "coherent memory, which is mapped already",
}
BREAKS: dict[str, str] = {
    "stack": "fails with VMAP_STACK; corrupts neighbours on the stack where DMA is not coherent",
    "rodata": "fails in a module; a read into it destroys what is protected",
    "module-data": "fails in a module; shares cache lines with other variables",
    "vmalloc": "is refused by dma_map_single(), and is not contiguous",
    "kvmalloc": "fails as soon as the buffer is large or memory is short",
    "percpu": "fails in a module, where percpu memory is vmalloc()'s",
    "kmap": "fails with highmem",
    "user": "is no address of the kernel's",
    "coherent": "fails where coherent memory is remapped; its lines are written back where DMA is not coherent",
}
