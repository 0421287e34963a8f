# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: what becomes of a transfer of i2c-virtio that a signal interrupts? ``interrupted_virtio.py FUNCTION``

FUNCTION is the PCI function of the virtio device. The slow slave's registers hold their own numbers, and its pointer
moves on with each byte read. Says one line of JSON.
"""

import signal
import sys
import time
from pathlib import Path

from guest import bind, records, say
from smbus2 import SMBus

DRIVERS = Path("/sys/bus/pci/drivers/virtio-pci")
SLOW = 0x68
SLOW_MS = 700
SIGNAL_S = 0.3
FIRST = 0x55
READS = 4


def interrupt(bus):
    """One read that a signal ends; its errno, or None."""
    bus.write_word_data(SLOW, 0, SLOW_MS)
    bus.write_byte(SLOW, FIRST)
    signal.setitimer(signal.ITIMER_REAL, SIGNAL_S)
    try:
        bus.read_byte(SLOW)
    except OSError as error:
        return error.errno
    return None


def main():
    signal.signal(signal.SIGALRM, lambda *_: None)
    function = sys.argv[1]
    with SMBus(bind(function)) as bus:
        interrupt(bus)
        # Long before the device answers: its driver lets go of it.
    (DRIVERS / "unbind").write_text(function)
    time.sleep(0.1)
    with SMBus(bind(function)) as bus:
        stopped = interrupt(bus)
        reads = [bus.read_byte(SLOW) for _ in range(READS)]
    wanted = list(range(FIRST + 1, FIRST + 1 + READS))
    say(
        interrupted_read_failed=stopped is not None,
        later_reads_get_the_byte_before=reads == [byte - 1 for byte in wanted],
        read=[hex(byte) for byte in reads],
        held=[hex(byte) for byte in wanted],
        kmsg=records(),
    )


main()
