# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: the records of /dev/kmsg so far, as JSON; with an argument those after the record of that number."""

import json
import os
import sys


def main():
    after = int(sys.argv[1]) if len(sys.argv) > 1 else -1
    records = []
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    while True:
        try:
            record = os.read(log, 8192).decode(errors="replace")
        except BlockingIOError:
            break
        if int(record.split(",", 2)[1]) > after:
            records.append(record.rstrip("\n"))
    json.dump(records, sys.stdout)


main()
