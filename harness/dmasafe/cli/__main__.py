# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m dmasafe.cli``: the command without its installed script."""

from dmasafe.cli import main

main()
