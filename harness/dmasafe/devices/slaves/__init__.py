# SPDX-License-Identifier: GPL-2.0-or-later
"""One file per slave: plain Python, no I/O, so that the model of the kernel uses the very same objects."""
