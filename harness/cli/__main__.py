# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m harness.cli``: the command without its installed script."""

from harness.cli import main

main()
