# SPDX-License-Identifier: GPL-2.0-or-later
"""What a splat means to the author of an I2C driver: one row a class, keyed by its slug.

Read in kernel/dma/debug.c, include/linux/dma-mapping.h, drivers/usb/core/hcd.c, include/linux/scatterlist.h and
drivers/i2c/i2c-core-base.c of 5.10 to 7.2. A new class needs a row here; a test says so.
"""

from __future__ import annotations

from dataclasses import dataclass

_API = "Documentation/core-api/dma-api.rst"
_HOWTO = "Documentation/core-api/dma-api-howto.rst"
_ATTRS = "Documentation/core-api/dma-attributes.rst"
_SWIOTLB = "Documentation/core-api/swiotlb.rst"
_I2C = "Documentation/i2c/dma-considerations.rst"
_USB = "Documentation/driver-api/usb/dma.rst"
_STACKS = "Documentation/mm/vmalloced-kernel-stacks.rst"
_BUGS = "Documentation/admin-guide/bug-hunting.rst"


@dataclass(frozen=True)
class Explanation:
    """One class explained.

    ``means`` says what the kernel saw, ``rule`` what was broken, ``causes`` what usually does that in I2C code,
    ``fixes`` what to write instead; ``read`` are files of the kernel's documentation. ``provoked_by`` are scenarios
    (dmasafe/scenario.py) that make a kernel of ``configuration`` (kernel-configs/matrix.toml) print this class by the
    same path, the best first; empty where a controller needs a seeded fault for it.
    """

    slug: str
    means: str
    rule: str
    causes: tuple[str, ...]
    fixes: tuple[str, ...]
    read: tuple[str, ...]
    provoked_by: tuple[str, ...] = ()
    configuration: str = "default"


_USE_HELPERS = (
    "in a controller driver: take the buffer from i2c_get_dma_safe_msg_buf() and give it back with "
    "i2c_put_dma_safe_msg_buf(); messages without I2C_M_DMA_SAFE then get a kmalloc'ed copy"
)
_DONT_LIE = (
    "in a client driver: set I2C_M_DMA_SAFE (or call i2c_master_send_dmasafe() and i2c_master_recv_dmasafe()) only for "
    "memory from kmalloc() or the page allocator; leave the flag out and the controller copies"
)
_KEEP_ARGUMENTS = (
    "keep what dma_map_*() was called with (address, size, direction, attributes) beside the message, and unmap with "
    "exactly that"
)
_ONE_EXIT = "write one unmap path that success, NAK, timeout and lost arbitration all take"

_ROWS = (
    Explanation(
        "map-stack",
        "A driver mapped a buffer that lies on a task's stack.",
        "Stack memory must never be handed to a device: it shares cache lines and pages with live variables, it is "
        "gone when the function returns, and with CONFIG_VMAP_STACK it has no linear address at all.",
        (
            "a client driver has 'u8 buf[8]' as a local variable and marks the message as DMA safe",
            "a controller driver maps msg->buf whatever it is, and SMBus byte and word transfers bring arrays of "
            "i2c_smbus_xfer_emulated()'s stack",
            "a timeout: the transfer is still running while the caller's stack frame is gone",
        ),
        (_DONT_LIE, _USE_HELPERS, "allocate the buffer with kmalloc() or devm_kmalloc(), once, at probe"),
        (_I2C, _HOWTO, _STACKS),
        (
            "stack/master_send_dmasafe/dmasafe:trusting/8",
            "stack/master_send_dmasafe/dmasafe:bounce/8",
            "stack/master_send/dmasafe:trusting/8",
        ),
        "no-vmap-stack",
    ),
    Explanation(
        "map-vmalloc",
        "dma-debug saw dma_map_single() on an address of the vmalloc area.",
        "vmalloc memory is contiguous for the CPU only; its linear address, and so its DMA address, is nonsense.",
        (
            "a large buffer (firmware, EEPROM image) from vmalloc() or kvmalloc() is sent in one message",
            "a stack under CONFIG_VMAP_STACK; since 5.4 or so dma_map_single() refuses both itself, see "
            "map-vmalloc-rejected",
        ),
        ("copy through a kmalloc'ed buffer in pieces the device can take", _DONT_LIE, _USE_HELPERS),
        (_HOWTO, _I2C, _STACKS),
    ),
    Explanation(
        "map-invalid-area",
        "dma_map_single() got an address outside the linear map: module code or data, an ioremap, a fixmap.",
        "Only memory with a struct page behind its linear address can be mapped. The mapping is not refused: the "
        "device is then sent to an address that belongs to somebody else, or to nobody.",
        (
            "'static const u8 init_sequence[]' in a driver that is built as a module, sent with I2C_M_DMA_SAFE: built "
            "in, the same code works",
            "a static command buffer of a module",
        ),
        ("kmemdup() the table at probe, or send it without the flag", _DONT_LIE, _USE_HELPERS),
        (_HOWTO, _I2C),
        (
            "module-rodata/master_send_dmasafe/dmasafe:bounce/8",
            "module-data/master_recv_dmasafe/dmasafe:bounce/8",
            "module-rodata/master_send/dmasafe:trusting/8",
        ),
    ),
    Explanation(
        "map-text-or-rodata",
        "A driver mapped memory of the kernel image's own code or constants.",
        "Constants can share a cache line with anything, and a device that writes there changes the kernel behind the "
        "page tables' back.",
        ("a 'const' table of a built-in driver is passed as msg->buf and marked as DMA safe",),
        ("kmemdup() the table at probe, or send it without the flag", _DONT_LIE, _USE_HELPERS),
        (_HOWTO, _I2C),
    ),
    Explanation(
        "map-error-unchecked",
        "A mapping was used or unmapped without dma_mapping_error() having been called on it.",
        "dma_map_*() can fail (no IOMMU space, swiotlb full, address out of reach), and only dma_mapping_error() can "
        "tell.",
        (
            "the driver compares the returned address with 0 or NULL",
            "the check was forgotten for one of two messages of a combined transfer",
        ),
        ("call dma_mapping_error(dev, addr) after every map, and fall back to PIO if it says so",),
        (_HOWTO, _API),
    ),
    Explanation(
        "free-invalid-address",
        "A driver unmapped the value that stands for a failed mapping.",
        "A mapping that failed was never made and must not be unmapped.",
        ("the error path unmaps without looking whether the map before it worked",),
        ("return early after a failed dma_mapping_error(), before the label that unmaps", _ONE_EXIT),
        (_HOWTO, _API),
    ),
    Explanation(
        "free-unallocated",
        "A driver unmapped or freed a DMA address that nobody has mapped for that device.",
        "Every unmap belongs to exactly one map, of the same device.",
        (
            "unmapped twice: in the interrupt handler and again in the timeout path",
            "unmapped with another struct device than it was mapped with (the adapter's instead of the DMA "
            "controller's)",
            "the address field was overwritten by the next message",
        ),
        (
            _ONE_EXIT,
            "map and unmap for the device that does the DMA: with dmaengine, channel->device->dev",
            "clear the saved length after the unmap, and test it before",
        ),
        (_HOWTO, _API),
    ),
    Explanation(
        "free-size",
        "A mapping was unmapped with another size than it was mapped with.",
        "The unmap must name the whole mapping: with swiotlb or an IOMMU the rest is neither copied back nor released.",
        (
            "a short read or a NAK shortened msg->len (I2C_M_RECV_LEN changes it too) between map and unmap",
            "mapped with the length of the FIFO or of the block, unmapped with that of the message",
        ),
        (_KEEP_ARGUMENTS,),
        (_HOWTO, _API),
    ),
    Explanation(
        "free-function",
        "A mapping was released with the function of another family (single, page, sg, coherent, resource).",
        "What dma_map_single() made only dma_unmap_single() may undo, and so on for each family.",
        ("dma_map_sg() of one entry, undone by dma_unmap_single() on sg_dma_address()", "copied error paths"),
        ("use the counterpart of the function that mapped",),
        (_HOWTO, _API),
    ),
    Explanation(
        "free-cpu-address",
        "Coherent memory was freed with another CPU address than it was allocated with.",
        "dma_free_coherent() needs the pair of addresses that dma_alloc_coherent() returned.",
        ("the driver advanced its ring or buffer pointer and freed where it had got to",),
        ("keep the start of the allocation apart from the pointer that moves", "use dmam_alloc_coherent()"),
        (_HOWTO, _API),
    ),
    Explanation(
        "free-sg-count",
        "A scatterlist was unmapped with another number of entries than it was mapped with.",
        "dma_unmap_sg() wants the number that was given to dma_map_sg(), not the number that it returned.",
        ("the returned count (entries may be merged by an IOMMU) was stored over the original one",),
        ("keep both counts, or use dma_map_sgtable() and dma_unmap_sgtable()",),
        (_HOWTO, _API),
    ),
    Explanation(
        "free-direction",
        "A mapping was unmapped with another direction than it was mapped with.",
        "The direction decides which caches are cleaned or invalidated and which way a bounce buffer is copied: a "
        "wrong one loses the data that was read, or brings old data back.",
        (
            "the direction is computed twice, once from I2C_M_RD of the first message and once of the last",
            "DMA_BIDIRECTIONAL on one side only",
        ),
        ("compute the direction once for each message and keep it with the mapping", _KEEP_ARGUMENTS),
        (_HOWTO, _API, _I2C),
    ),
    Explanation(
        "free-attrs",
        "A mapping was released with other attributes than it was made with (reported since 7.x).",
        "Attributes such as DMA_ATTR_SKIP_CPU_SYNC or DMA_ATTR_NO_KERNEL_MAPPING must be the same on both sides.",
        ("dma_map_single_attrs() is paired with plain dma_unmap_single()",),
        (_KEEP_ARGUMENTS,),
        (_ATTRS, _API),
    ),
    Explanation(
        "sync-unallocated",
        "dma_sync_*() was called on memory that is not mapped.",
        "A sync moves ownership of a mapping between CPU and device; without a mapping there is nothing to move.",
        (
            "the sync comes after the unmap, or uses the address of the message before",
            "sync with another struct device than the map",
        ),
        ("drop the sync: map and unmap already do it for a buffer that is used once", "sync before the unmap"),
        (_HOWTO, _API),
    ),
    Explanation(
        "sync-out-of-range",
        "dma_sync_*() reached beyond the end of the mapping.",
        "Offset plus size of a sync must stay inside what was mapped.",
        ("the driver syncs its whole FIFO or page although only msg->len bytes are mapped",),
        ("sync the length that was transferred", "map the whole of a long-lived buffer once"),
        (_HOWTO, _API),
    ),
    Explanation(
        "sync-direction",
        "dma_sync_*() was called with another direction than the mapping has.",
        "The direction of a sync is that of its mapping (any, if that is DMA_BIDIRECTIONAL).",
        ("one buffer that is kept mapped is used for reads and writes, but was mapped for one of them",),
        ("map such a buffer DMA_BIDIRECTIONAL, or use one for each direction",),
        (_HOWTO, _API),
    ),
    Explanation(
        "sync-cpu-readonly",
        "Memory that the device only reads (DMA_TO_DEVICE) was synced for the CPU.",
        "The device has written nothing that the CPU could fetch; on some machines old cache lines come back.",
        ("read and write paths share one completion routine that syncs in any case",),
        ("sync for the CPU only messages with I2C_M_RD",),
        (_HOWTO, _API),
    ),
    Explanation(
        "sync-device-writeonly",
        "Memory that the device only writes (DMA_FROM_DEVICE) was synced for the device.",
        "The CPU has nothing to hand over there, and cleaning its caches can overwrite what the device wrote.",
        ("read and write paths share one start routine that syncs in any case",),
        ("sync for the device only messages without I2C_M_RD, or map DMA_BIDIRECTIONAL",),
        (_HOWTO, _API),
    ),
    Explanation(
        "sync-sg-count",
        "A scatterlist was synced with another number of entries than it was mapped with.",
        "dma_sync_sg_*() wants the number that was given to dma_map_sg().",
        ("the returned, possibly smaller count was used",),
        ("keep the original count, or use dma_sync_sgtable_*()",),
        (_HOWTO, _API),
    ),
    Explanation(
        "sg-too-long",
        "An entry of a scatterlist is longer than the device says it can take.",
        "A device's dma_parms limit the length of one segment (64 KiB if the driver has not set one).",
        ("the driver never called dma_set_max_seg_size()", "a DMA controller's limit is smaller than the message"),
        (
            "tell the limit with dma_set_max_seg_size()",
            "limit message lengths with struct i2c_adapter_quirks, max_read_len and max_write_len",
        ),
        (_API, _HOWTO),
    ),
    Explanation(
        "sg-boundary",
        "An entry of a scatterlist crosses an address boundary that the device cannot cross.",
        "A device's segment boundary mask (4 GiB if not set) must not be crossed inside one segment.",
        ("the driver set a boundary and maps buffers that ignore it",),
        ("set the right mask with dma_set_seg_boundary()", "allocate from a dma_pool with that boundary"),
        (_API,),
    ),
    Explanation(
        "cacheline-overlap",
        "Two mappings of the same cache line were active at once, and the device may write through one of them.",
        "What a device writes must have its cache lines for itself, or the owner of the other half of the line "
        "loses data on machines whose DMA is not coherent.",
        (
            "a buffer of dma_alloc_coherent() or a dma_pool is passed as msg->buf and mapped once more",
            "two small buffers stand side by side in one struct, with two transfers under way",
            "the mapping of the transfer before was never undone",
        ),
        (
            "give every DMA buffer an allocation of its own (kmalloc() returns whole cache lines where it matters)",
            "use the DMA address that dma_alloc_coherent() returned instead of mapping again",
            "in a struct: __dma_from_device_group_begin() and _end() (7.x), or ____cacheline_aligned",
        ),
        (_HOWTO, _API, _I2C),
        (
            "coherent/master_recv_dmasafe/dmasafe:bounce/8",
            "dma-pool/master_recv_dmasafe/dmasafe:bounce/8",
            "coherent/master_recv/dmasafe:trusting/8",
        ),
    ),
    Explanation(
        "leak-on-release",
        "A driver let go of its device while mappings of that device were still there.",
        "Every mapping has to be undone before the driver's remove() returns: the next driver inherits neither the "
        "device's addresses nor the IOMMU entries, and the device may still write.",
        (
            "the timeout or NAK path returns without the unmap: one mapping leaks for each failed transfer",
            "remove() does not stop a transfer that is under way",
        ),
        (
            _ONE_EXIT,
            "terminate the transfer (dmaengine_terminate_sync()) and unmap, then i2c_del_adapter(), in remove()",
            "look at 'Mapped at:' below the report: it names the call whose mapping leaked",
        ),
        (_API, _HOWTO),
    ),
    Explanation(
        "map-resource-ram",
        "dma_map_resource() was called for an address that is RAM (reported since 7.x).",
        "That function is for registers of other devices, such as a FIFO; RAM needs cache maintenance, which it omits.",
        ("the physical address of a message buffer is passed where that of the controller's FIFO belongs",),
        ("map RAM with dma_map_single(), dma_map_page() or dma_map_phys() without DMA_ATTR_MMIO",),
        (_API,),
    ),
    Explanation(
        "cacheline-touched",
        "The CPU wrote to a page while a device had it mapped (kernels before 5.10 could tell).",
        "Between map and unmap (or sync) the memory belongs to the device.",
        ("the caller reuses its buffer although the transfer has only timed out, not ended",),
        ("stop the hardware before a transfer returns with an error",),
        (_HOWTO,),
    ),
    Explanation(
        "map-vmalloc-rejected",
        "dma_map_single() got a vmalloc address (with CONFIG_VMAP_STACK that is what a stack is), refused it and "
        "returned DMA_MAPPING_ERROR. The warning comes once for each place in the code, until the next boot or reload.",
        "Only memory of the linear map can be mapped: kmalloc() and the page allocator, never a stack or vmalloc().",
        (
            "a client driver passes a local array to i2c_master_send_dmasafe() or sets I2C_M_DMA_SAFE on it",
            "a controller driver maps msg->buf of every message, marked or not",
            "a large buffer from vmalloc() or kvmalloc()",
        ),
        (_DONT_LIE, _USE_HELPERS, "check dma_mapping_error(): the transfer must not go on after this warning"),
        (_I2C, _HOWTO, _STACKS),
        (
            "stack/master_send_dmasafe/dmasafe:bounce/8",
            "vmalloc/master_recv_dmasafe/dmasafe:bounce/32",
            "stack/master_send/dmasafe:trusting/8",
        ),
    ),
    Explanation(
        "addr-overflow",
        "A buffer lies above what the device, or the bus it is on, can address, and no bounce buffer could help.",
        "A driver has to tell how many address bits its hardware has, and must expect a mapping to fail.",
        (
            "dma_set_mask_and_coherent() was not called or says too little",
            "the device tree's dma-ranges are wrong or missing",
            "swiotlb is off (swiotlb=noforce) or too small",
        ),
        ("set the right mask in probe()", "correct dma-ranges", "allocate with GFP_DMA32 where the hardware needs it"),
        (_HOWTO, _SWIOTLB),
    ),
    Explanation(
        "usb-buffer-on-stack",
        "A USB driver submitted a transfer whose buffer, or setup packet, lies on the stack; the transfer was refused.",
        "usb_control_msg(), usb_bulk_msg() and every URB need memory that DMA can reach, always: USB has no flag to "
        "leave it out.",
        (
            "a USB-to-I2C bridge reads its status into a local variable",
            "the bridge driver hands msg->buf straight to usb_control_msg()",
        ),
        (
            "keep a kmalloc'ed buffer in the driver's private struct, in an allocation of its own",
            "use usb_control_msg_send() and usb_control_msg_recv(), which copy",
        ),
        (_USB, _I2C),
    ),
    Explanation(
        "usb-buffer-not-dma-capable",
        "A USB transfer's buffer is vmalloc memory or otherwise outside the linear map; the transfer was refused.",
        "usb_control_msg(), usb_bulk_msg() and every URB need memory that DMA can reach, always.",
        ("the bridge driver hands msg->buf straight to usb_control_msg()", "a large transfer from vmalloc memory"),
        ("keep a kmalloc'ed buffer in the driver's private struct, in an allocation of its own",),
        (_USB, _I2C),
    ),
    Explanation(
        "sg-virt-invalid",
        "sg_init_one() or sg_set_buf() got an address without a struct page, and CONFIG_DEBUG_SG stopped the task. "
        "Without that option nothing is reported, and the device is sent to a nonsense address.",
        "A scatterlist holds pages: only an address of the linear map (kmalloc(), page allocator) has one.",
        (
            "a caller marked a stack, vmalloc or module buffer as DMA safe and the controller (i2c-virtio) builds a "
            "scatterlist from it",
            "a controller driver calls sg_init_one() on msg->buf without i2c_get_dma_safe_msg_buf()",
        ),
        (_DONT_LIE, _USE_HELPERS, "reboot before the next test: the task died with the adapter's lock held"),
        (_I2C, _HOWTO),
        (
            "stack/master_send_dmasafe/virtio/8",
            "vmalloc/master_recv_dmasafe/virtio/32",
            "module-rodata/master_send_dmasafe/virtio/8",
        ),
        "debug-sg",
    ),
    Explanation(
        "debug-disabled",
        "dma-debug ran out of memory for its records and switched itself off: from here on it reports nothing.",
        "None was seen to be broken; but a log that is clean after this line proves nothing.",
        (
            "mappings leak, one for each transfer (see leak-on-release)",
            "the guest or board has little memory, or many mappings are legitimate",
        ),
        (
            "boot with a larger dma_debug_entries=, or more memory",
            "compare dma-api/num_free_entries before and after a thousand transfers to find a leak",
        ),
        (_API,),
    ),
    Explanation(
        "other",
        "A report of the kernel's that is not about DMA by its words: its title says what it is.",
        "See the title. It can still be the consequence of DMA into memory that was not meant: then it comes from "
        "code that has nothing to do with I2C.",
        (
            "KASAN, list or slab corruption after a transfer: the device wrote to a stray address",
            "a fault in the copy back to a const buffer that a caller passed for reading",
        ),
        (
            "repeat with CONFIG_DMA_API_DEBUG and CONFIG_DEBUG_SG: they report earlier, at the mapping",
            "run the same operation on dmasafe's emulated controller, which names every stray address",
        ),
        (_BUGS, _HOWTO),
    ),
)

EXPLANATIONS: dict[str, Explanation] = {row.slug: row for row in _ROWS}


def explanation(slug: str) -> Explanation:
    """The explanation of a class; raises KeyError for a slug that is none."""
    return EXPLANATIONS[slug]
