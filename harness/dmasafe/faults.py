# SPDX-License-Identifier: GPL-2.0-or-later
"""What a driver can do wrong: the mistakes that images/modules/controller_fault_*.c seeds by name.

Below the scenarios, which take one as their option ``fault``. What must come of each is in
dmasafe/expect/faults.py.
"""

from __future__ import annotations

from typing import NamedTuple

# The messages that faults are shown with: marked ones go straight from the caller's buffer, others are bounced.
# 32 bytes are half of x86's cache line.
SEND = "heap/master_send_dmasafe/dmasafe:bounce/32"
RECV = "heap/master_recv_dmasafe/dmasafe:bounce/32"
SEND_BOUNCED = "heap/master_send/dmasafe:bounce/32"
RECV_BOUNCED = "heap/master_recv/dmasafe:bounce/32"
# Eight bytes, so that they never lie across two of the stack's pages.
RECV_STACK = "stack/master_recv_dmasafe/dmasafe:trusting/8"
SEND_UNHEARD = "user/i2cdev_rdwr/dmasafe:bounce/32@77+messages=w32"


class Fault(NamedTuple):
    """A mistake: ``what`` the driver does, ``shown_with`` the scenarios (without the fault) that suite ``faults`` uses.

    ``rebinds``: the driver is unbound and bound again within the scenario. ``spends_boot``: dma-debug does not outlive
    it, so that it needs a boot of its own. ``unseen_alone``: it shows where mappings fail on purpose, as the strict
    machine can make them.
    """

    name: str
    what: str
    shown_with: tuple[str, ...]
    rebinds: bool = False
    spends_boot: bool = False
    unseen_alone: bool = False


_ROWS = (
    # what is mapped, and for whom
    Fault("map-stack", "maps a buffer on the stack, page by page", (RECV_STACK,)),
    Fault("map-vmalloc", "maps vmalloc memory, calling debug_dma_map_single() itself", (RECV_BOUNCED,)),
    Fault("map-vmalloc-rejected", "maps vmalloc memory", (RECV_BOUNCED,)),
    Fault("map-invalid-area", "maps a static buffer of its module", (RECV_BOUNCED,)),
    Fault("map-text-or-rodata", "maps the distance between two unrelated objects", (SEND, RECV)),
    Fault("map-resource-ram", "maps RAM with dma_map_resource()", (RECV,)),
    Fault("map-error-unchecked", "does not call dma_mapping_error()", (SEND, RECV), unseen_alone=True),
    Fault("map-error-ignored", "goes on after the mapping has failed", (SEND, RECV)),
    Fault("addr-overflow", "sets a DMA mask that is too small", (RECV,)),
    Fault("wrong-device-map", "maps for the I2C adapter instead of its parent", (RECV,)),
    Fault("wrong-direction", "maps and unmaps in the opposite direction", (SEND, RECV)),
    Fault("device-overrun", "tells the device four bytes more than are mapped", (RECV,)),
    Fault("cacheline-overlap", "maps a buffer twice at the same time", (SEND, RECV)),
    Fault("messages-on-one-line", "maps two buffers on one cache line", (SEND_BOUNCED, RECV_BOUNCED)),
    # how it is unmapped
    Fault("free-invalid-address", "unmaps DMA_MAPPING_ERROR", (RECV,)),
    Fault("free-unallocated", "unmaps an address inside the mapping", (RECV,)),
    Fault("double-unmap", "unmaps twice", (SEND, RECV)),
    Fault("double-unmap-after-error", "unmaps once more in the error path", (SEND_UNHEARD,)),
    Fault("free-size", "unmaps one byte less", (RECV,)),
    Fault("free-direction", "unmaps as bidirectional", (RECV,)),
    Fault("free-attrs", "maps as privileged, unmaps as not", (RECV,)),
    Fault("wrong-device-unmap", "unmaps for the I2C adapter instead of its parent", (RECV,)),
    # how it is handed back and forth
    Fault("sync-unallocated", "syncs what lies behind the mapping", (RECV,)),
    Fault("sync-beyond", "syncs one byte more than is mapped", (RECV,)),
    Fault("sync-after-unmap", "syncs after unmapping", (RECV,)),
    Fault("sync-out-of-range", "syncs a length that underflowed", (RECV,)),
    Fault("sync-direction", "syncs a mapping from the device as one to it", (RECV,)),
    Fault("sync-cpu-readonly", "syncs for the CPU what the device only reads", (SEND,)),
    Fault("sync-device-writeonly", "syncs for the device what it only writes", (RECV,)),
    # scatterlists
    Fault("free-sg-count", "unmaps more entries than were mapped", (SEND, RECV)),
    Fault("sync-sg-count", "syncs more entries than were mapped", (RECV,)),
    Fault("sync-direction-sg", "syncs a list from the device as one to it", (RECV,)),
    Fault("free-direction-sg", "unmaps a list as bidirectional", (RECV,)),
    Fault("double-unmap-sg", "unmaps a list twice", (RECV,)),
    Fault("free-function", "maps a list, unmaps a single mapping", (RECV,)),
    Fault("sg-too-long", "maps an entry longer than it says the device takes", (SEND, RECV)),
    Fault("sg-boundary", "maps an entry across a boundary that it says the device cannot cross", (SEND, RECV)),
    # coherent memory
    Fault("free-size-coherent", "frees one byte less of coherent memory", (RECV_BOUNCED,)),
    Fault("free-cpu-address", "frees coherent memory at another CPU address", (RECV_BOUNCED,)),
    Fault("free-function-coherent", "unmaps coherent memory instead of freeing it", (RECV_BOUNCED,)),
    Fault("leak-coherent", "leaves coherent memory behind when unbound", (RECV_BOUNCED,), rebinds=True),
    # whose a buffer is, and its cache lines
    Fault("fill-late", "fills a buffer after mapping it", (SEND_BOUNCED,)),
    Fault("read-early", "reads what the device wrote before unmapping", (RECV_BOUNCED,)),
    Fault("write-beside", "writes to the cache line of a buffer that the device fills", (RECV_BOUNCED,)),
    # the order of things, and how long they live
    Fault("unmap-early", "unmaps before the device is done", (SEND, RECV)),
    Fault("use-after-unmap", "unmaps and frees, then sends the device there", (SEND_BOUNCED,)),
    Fault("free-while-mapped", "frees the buffer while it is mapped", (SEND_BOUNCED,)),
    Fault("put-before-unmap", "copies and frees the bounce buffer before unmapping it", (SEND_BOUNCED, RECV_BOUNCED)),
    Fault("bounce-not-released", "does not give the bounce buffer back", (SEND_BOUNCED, RECV_BOUNCED)),
    Fault("bounce-not-copied", "gives the bounce buffer back as not transferred", (RECV_BOUNCED,)),
    Fault("threshold-never-met", "bounces from a length on that no message has", (SEND, RECV)),
    Fault("leak-on-release", "leaves a mapping behind when unbound", (SEND, RECV), rebinds=True),
    Fault("debug-disabled", "never unmaps, until memory is scarce", (SEND,), spends_boot=True),
)
FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ROWS}
NO_FAULT = "none"
