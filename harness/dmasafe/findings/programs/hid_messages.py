# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: which messages i2c-hid sends, and what i2c-virtio does with their buffers. ``hid_messages.py FUNCTION``

FUNCTION is the PCI function of the virtio device, on whose bus is a keyboard. dmasafe_audit.ko watches (docs/audit.md).
Says one line of JSON.
"""

import json
import sys
from pathlib import Path

from guest import Client, bind, load, say
from keyboard import ADDRESS, WORDS

AUDIT = Path("/sys/kernel/debug/dmasafe_audit")
DESCRIPTOR_BYTES = 30


def total(rows, key):
    return sum(row[key] for row in rows)


def main():
    load("dmasafe_clients")
    load("dmasafe_audit", "object_sizes=1")
    keyboard = Client(bind(sys.argv[1]), ADDRESS, WORDS)
    keyboard.input()
    (AUDIT / "watch").write_text("0")
    lines = [json.loads(line) for line in (AUDIT / "messages").read_text().splitlines()]
    rows = [row for row in lines if row.get("address") == ADDRESS and row["class"] == "slab"]
    commands = [row for row in rows if row["dma_safe"] and not row["rd"]]
    inputs = [row for row in rows if not row["dma_safe"] and row["rd"]]
    marked = [row for row in rows if row["dma_safe"] and row["rd"] and row["frame0"].startswith("i2c_hid_irq")]
    # With the report descriptor, which has the same caller, and begins its object.
    descriptor = [row for row in rows if row["rd"] and row["dma_safe"] and row["min"] == DESCRIPTOR_BYTES]
    say(
        input_reports_in_kmalloc_memory=total(inputs, "count") > 0,
        input_reports_mapped_in_place=total(inputs, "mapped"),
        marked_input_reports_mapped_in_place=0 < total(marked, "mapped") == total(marked, "count"),
        input_reports_read_by=sorted({row["frame0"].partition("+")[0] for row in inputs}),
        all_commands_mapped_in_place=0 < total(commands, "mapped") == total(commands, "count"),
        marked_descriptor_shares_its_cache_line=total(descriptor, "before") == len(descriptor) == 1,
        descriptor_offset_in_its_object=[row["offset"] for row in descriptor],
    )


main()
