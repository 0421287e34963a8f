#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Poll a Patchwork project for new series, look at each with dmasafe, and report a check on its patches.

    PATCHWORK_TOKEN=... docs/ci/patchwork.py --kdir ~/linux --state /var/lib/dmasafe/seen

Without a token nothing is reported: the checks and the replies are written only. Run it from cron or a timer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

SERVER, PROJECT = "https://patchwork.ozlabs.org", "linux-i2c"
TIMEOUT_S = 60
#: A series that takes longer is not waited for.
SERIES_S = 6 * 3600


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        data: bytes = answer.read()
        return data


def new_series(server: str, project: str, since: int) -> list[dict[str, Any]]:
    """What came after the series of this id and is complete, the oldest first."""
    query = urllib.parse.urlencode({"project": project, "order": "-id", "per_page": 50})
    found = json.loads(fetch(f"{server}/api/1.2/series/?{query}"))
    return [one for one in reversed(found) if one["id"] > since and one["received_all"]]


def look(series: dict[str, Any], arguments: argparse.Namespace) -> dict[str, str] | None:
    """The check of a series, None if dmasafe could not look at it: a mail that does not apply, say."""
    place: Path = arguments.out / str(series["id"])
    place.mkdir(parents=True, exist_ok=True)
    (place / "series.mbox").write_bytes(fetch(series["mbox"]))
    check = place / "check.json"
    command = [arguments.dmasafe, "series", "--kdir", arguments.kdir, "--each", place / "series.mbox"]
    command += ["--results", place, "--mail", place / "reply.txt", "--patchwork-check", check]
    if arguments.url:
        command += ["--target-url", f"{arguments.url}/{series['id']}/"]
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=SERIES_S, check=False)
    return json.loads(check.read_text()) if check.exists() else None


def report(patch: int, check: dict[str, str], server: str, token: str) -> None:
    request = urllib.request.Request(
        f"{server}/api/1.2/patches/{patch}/checks/",
        data=json.dumps(check).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Token {token}"},
    )
    urllib.request.urlopen(request, timeout=TIMEOUT_S).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=SERVER)
    parser.add_argument("--project", default=PROJECT)
    parser.add_argument(
        "--kdir", required=True, help="the kernel's git repository; its HEAD is the base without another"
    )
    parser.add_argument("--state", type=Path, required=True, help="a file with the last series that was seen")
    parser.add_argument("--out", type=Path, default=Path("out/patchwork"), help="where results go")
    parser.add_argument("--url", help="where they can be seen")
    parser.add_argument("--dmasafe", default="dmasafe", help="the command")
    arguments = parser.parse_args()
    token = os.environ.get("PATCHWORK_TOKEN", "")
    since = int(arguments.state.read_text()) if arguments.state.exists() else 0
    for series in new_series(arguments.server, arguments.project, since):
        check = look(series, arguments)
        print(f"{series['id']} {series['name']}: {check['description'] if check else 'could not be looked at'}")
        for patch in series["patches"] if check and token else ():
            report(patch["id"], check, arguments.server, token)
        # Now, and not at the end: what was reported is not reported again.
        arguments.state.write_text(f"{series['id']}\n")


if __name__ == "__main__":
    sys.exit(main())
