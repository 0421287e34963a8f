# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a console log is searched for reports: ours, ``grep -c WARNING`` and PyPI's tuxparse on the same file.

Whole processes count, start and imports included, the fastest of RUNS, by the processor's seconds: all three have one
thread and read from the page cache, so that these are the clock's on an idle machine and the same on a busy one.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import fastest

LOG_BYTES = 200_000_000
SPLAT_EVERY_BYTES = 1_000_000
RUNS = 3
SEED = 1
# It takes ten minutes for the whole file and runs at one speed: it gets the beginning.
TUXPARSE_BYTES = 10_000_000
TUXPARSE_TIMEOUT_S = 300
# What is wanted of it.
CLEAN_MB_PER_S, SPLATS_MB_PER_S, PEAK_MB = 150, 50, 64

_OURS = """
import resource, sys
from dmasafe.dmesg import parse_path
count = sum(1 for _ in parse_path(sys.argv[1]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

_WORDS = """\
usb pci net input device driver registered initialized using version memory reserved mapped available console enabled
irq clock source timer eth0 link becomes ready full duplex filesystem mounted root readonly cpu0 calibrating delay
loop bridge window io port range conflicts with address space freeing unused kernel image systemd started service
random crng init done audit type loaded firmware regulator supply found bus i2c-0 adapter probe deferred DEBUG
"""

_SPLAT = """\
------------[ cut here ]------------
DMA-API: dmasafe_controller 0000:00:05.0: device driver frees DMA memory with different size \
[device address=0x0000000003d2c000] [map size=16 bytes] [unmap size=8 bytes]
WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:1020 check_unmap+0x5b2/0xa00
Modules linked in: dmasafe_client(O) dmasafe_controller(O)
CPU: 0 UID: 0 PID: 35 Comm: agent Tainted: G           O       6.12.117 #1
Tainted: [O]=OOT_MODULE
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
RIP: 0010:check_unmap+0x5b2/0xa00
Code: 48 8b 5f 50 48 85 db 75 03 48 8b 1f e8 43 22 3a 00 48 89 c6 4c 89 e1 48 89 da 48 c7 c7 <0f> 0b
RSP: 0018:ffffc900001abb98 EFLAGS: 00000286
RAX: 0000000000000000 RBX: ffff888003c49a80 RCX: 0000000000000027
RDX: ffff88800f61b648 RSI: 0000000000000001 RDI: ffff88800f61b640
RBP: ffffc900001abbf8 R08: 0000000000000000 R09: 0000000000000000
R10: 0000000000000000 R11: 0000000000000000 R12: ffff888003c49a80
R13: 0000000000000000 R14: 0000000000000000 R15: 0000000000000000
FS:  0000000000000000(0000) GS:ffff88800f600000(0000) knlGS:0000000000000000
CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
CR2: 00007f6b1a2c3000 CR3: 0000000003d2c000 CR4: 00000000000006f0
Call Trace:
 <TASK>
 ? __warn+0x7d/0x120
 ? check_unmap+0x5b2/0xa00
 debug_dma_unmap_page+0x90/0xa0
 dma_unmap_page_attrs+0x6a/0x2b0
 dmasafe_xfer+0x1f3/0x4d0 [dmasafe_controller]
 __i2c_transfer+0x1b2/0x6a0
 i2c_transfer+0x4f/0xd0
 i2c_transfer_buffer_flags+0x5c/0x80
 dmasafe_client_write+0x8f1/0xb20 [dmasafe_client]
 vfs_write+0xf8/0x400
 ksys_write+0x6f/0xf0
 do_syscall_64+0x4b/0x110
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
 </TASK>
---[ end trace 0000000000000000 ]---
DMA-API: Mapped at:
 debug_dma_map_page+0x61/0x1f0
 dma_map_page_attrs+0x9c/0x2f0
 dmasafe_xfer+0x1f3/0x4d0 [dmasafe_controller]
"""


def generate(path: Path, splats: bool) -> None:
    """A console log of LOG_BYTES, the same bytes in each run; its splats are the same report again and again."""
    source, words = random.Random(SEED), _WORDS.split()
    sentences = [" ".join(source.choices(words, k=source.randint(4, 14))) for _ in range(2000)]
    us, size, until_splat = 0, 0, SPLAT_EVERY_BYTES // 2
    with path.open("w", encoding="ascii", newline="\n", buffering=1 << 20) as stream:
        while size < LOG_BYTES:
            lines = source.choices(sentences, k=200)
            if splats and size >= until_splat:
                lines += _SPLAT.splitlines()
                until_splat += SPLAT_EVERY_BYTES
            for line in lines:
                us += 137
                size += stream.write(f"[{us // 1_000_000:5d}.{us % 1_000_000:06d}] {line}\n")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dmasafe-bench-") as directory:
        for name, splats, wanted in (("clean", False, CLEAN_MB_PER_S), ("1 splat per MB", True, SPLATS_MB_PER_S)):
            path = Path(directory) / "console.log"
            generate(path, splats)
            _measure(name, path, wanted)


def _measure(name: str, path: Path, wanted: int) -> None:
    size_mb = path.stat().st_size / 1e6
    print(f"{name}: {size_mb:.0f} MB, seed {SEED}")
    ours_s, printed = fastest([sys.executable, "-c", _OURS, str(path)], RUNS)
    count, peak_kb = map(int, printed.split())
    speed, peak_mb = size_mb / ours_s, peak_kb * 1024 / 1e6
    print(f"  dmasafe          {speed:8.1f} MB/s  {count} splats, peak memory {peak_mb:.0f} MB")
    print(f"    wanted: {wanted} MB/s, {PEAK_MB} MB: {'yes' if speed >= wanted and peak_mb < PEAK_MB else 'NO'}")
    grep = shutil.which("grep")
    if grep is None:
        print("  grep -c WARNING  skipped: grep is not installed")
    else:
        grep_s, printed = fastest([grep, "-c", "WARNING", str(path)], RUNS)
        print(
            f"  grep -c WARNING  {size_mb / grep_s:8.1f} MB/s  {printed.strip()} lines; ours is {grep_s / ours_s:.2f} x"
        )
    _measure_tuxparse(path, size_mb, ours_s)


def _measure_tuxparse(path: Path, size_mb: float, ours_s: float) -> None:
    if importlib.util.find_spec("tuxparse") is None:
        print("  tuxparse         skipped: it is not installed (pip install tuxparse)")
        return
    head = path.with_name("head.log")
    with path.open("rb") as stream:
        head.write_bytes(stream.read(TUXPARSE_BYTES))
    head_mb = TUXPARSE_BYTES / 1e6
    # Without a result file it would write one beside the log.
    command = [sys.executable, "-m", "tuxparse", "--log-parser", "boot_test"]
    command += ["--log-file", str(head), "--result-file", str(head.with_suffix(".json"))]
    try:
        tux_s, _ = fastest(command, runs=1, timeout_s=TUXPARSE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"  tuxparse         the first {head_mb:.0f} MB take more than {TUXPARSE_TIMEOUT_S} s")
        return
    except RuntimeError as error:
        print(f"  tuxparse         failed: {error}")
        return
    ratio = (head_mb / tux_s) / (size_mb / ours_s)
    print(f"  tuxparse         {head_mb / tux_s:8.1f} MB/s  on the first {head_mb:.0f} MB; ours is {1 / ratio:.0f} x")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    main()
