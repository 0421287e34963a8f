# SPDX-License-Identifier: GPL-2.0-or-later
"""The subcommands of ``dmasafe matrix``, one file each with its ``command``; two files hold what they share."""
