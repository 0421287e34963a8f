# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's controllers, a file each; dmasafe/carriers/__init__.py names them."""
