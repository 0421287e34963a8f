# SPDX-License-Identifier: GPL-2.0-or-later
# Upstream client drivers at work on the emulated bus, for dmasafe audit (docs/audit.md): at 0x50 is an EEPROM, at 0x20
# a chip with 256 registers, of which one driver after the other takes its own to be.
set -e
adapter=/sys/bus/i2c/devices/i2c-$DMASAFE_BUS
chip=$adapter/$DMASAFE_BUS-0020

client() { # NAME ADDRESS: such a client appears
	echo "$1 $2" > "$adapter/new_device"
}

no_client() { # ADDRESS
	echo "$1" > "$adapter/delete_device"
}

client 24c02 0x50
echo dmasafe > "$adapter/$DMASAFE_BUS-0050/eeprom"
cat "$adapter/$DMASAFE_BUS-0050/eeprom" > /dev/null

client ds1307 0x20
clock=$(ls "$chip/rtc")
cat "/sys/class/rtc/$clock/time"
busybox hwclock -w -f "/dev/$clock"
no_client 0x20

client pca9555 0x20
line=$(cat "$chip"/gpio/gpiochip*/base)
echo "$line" > /sys/class/gpio/export
cat "/sys/class/gpio/gpio$line/value"
echo high > "/sys/class/gpio/gpio$line/direction"
no_client 0x20

# What a TMP102's configuration register says after power-on.
client 24c02 0x20
printf '\140\240' | busybox dd of="$chip/eeprom" bs=1 seek=1 2> /dev/null
no_client 0x20
client tmp102 0x20
# The driver asks to be asked again until the first conversion is over.
until cat "$chip"/hwmon/hwmon*/temp1_input 2> /dev/null; do sleep 0.1; done
no_client 0x20
