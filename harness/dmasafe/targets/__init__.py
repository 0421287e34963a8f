# SPDX-License-Identifier: GPL-2.0-or-later
"""The places where a scenario can run: one small file each, all answering the protocol of base.py."""
