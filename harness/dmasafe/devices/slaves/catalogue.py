# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves that can be plugged in by a name: the chip's, as Linux' drivers know it."""

from __future__ import annotations

from collections.abc import Mapping

_HERE = "dmasafe.devices.slaves"

#: Name -> import path, as values.find() takes it; a new slave is one row.
CATALOGUE: Mapping[str, str] = {
    "24c02": f"{_HERE}.eeprom:Eeprom.c02",
    "24c32": f"{_HERE}.eeprom:Eeprom.c32",
    "ad5110": f"{_HERE}.ad5110:Ad5110",
    "ad5622": f"{_HERE}.ad5622:Ad5622",
    "adm1266": f"{_HERE}.adm1266:Adm1266",
    "ds1307": f"{_HERE}.ds1307:Ds1307",
    "ekth3500": f"{_HERE}.ekth3500:Ekth3500",
    "hid-over-i2c": f"{_HERE}.hid_keyboard:HidKeyboard",
    "lm75b": f"{_HERE}.lm75:Lm75",
    "pca9534": f"{_HERE}.pca9534:Pca9534",
    "st1633": f"{_HERE}.st1633:St1633",
    "tmp102": f"{_HERE}.lm75:Tmp102",
}
