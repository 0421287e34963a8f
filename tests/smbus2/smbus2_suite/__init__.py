# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program sees of i2c-dev through smbus2: the same cases on the model, in a guest, on any bus with these slaves.

Needs nothing but python3 and smbus2. ``python3 -m smbus2_suite --bus N --adapter NAME`` prints a JSON object a case.
"""
