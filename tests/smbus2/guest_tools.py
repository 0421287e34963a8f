# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-tools in a guest whose shell is busybox's."""

import re


def tools(command):
    """busybox's shell would take its own applets of these names."""
    return re.sub(r"\b(i2c(?:get|set|transfer|detect|dump)) ", r"/usr/sbin/\1 ", command)
