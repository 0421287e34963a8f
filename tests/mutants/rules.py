# SPDX-License-Identifier: GPL-2.0-or-later
"""Deliberate changes of the model's rules that the recordings of real guests must notice: (file, rule, wrong rule)."""

RULES: tuple[tuple[str, str, str], ...] = (
    ("model/i2c.py", "if msg.len < threshold or msg.len == 0:", "if msg.len <= threshold or msg.len == 0:"),
    ("model/i2c.py", "        if msg.flags & I2C_M_DMA_SAFE:\n", "        if not msg.flags & I2C_M_DMA_SAFE:\n"),
    ("model/i2c.py", "if xferred and msg.flags & I2C_M_RD:", "if msg.flags & I2C_M_RD:"),
    ("model/i2c.py", "return count if ret == 1 else ret", "return count if ret >= 0 else ret"),
    ("model/i2cdev.py", "msg.flags | I2C_M_DMA_SAFE, msg.len", "msg.flags, msg.len"),
    ("model/i2cdev.py", "I2C_RDWR_IOCTL_MAX_MSGS: Final = 42", "I2C_RDWR_IOCTL_MAX_MSGS: Final = 43"),
    ("model/i2cdev.py", "if msg.len > I2CDEV_MAX_BYTES:", "if msg.len >= I2CDEV_MAX_BYTES:"),
    ("model/smbus.py", "LENGTH_CHECK_SINCE = (6, 1, 192)", "LENGTH_CHECK_SINCE = (6, 2)"),
    ("model/smbus.py", "last.len += 1", "last.len += 0"),
    ("model/smbus.py", "        msg.flags |= I2C_M_DMA_SAFE\n", ""),
    ("model/config.py", "queue_entries=facts.running.queue_entries", "queue_entries=facts.running.queue_entries + 1"),
    ("model/controllers.py", "return 0 if ok else -ENXIO", "return 0 if ok else -EIO"),
    ("model/controllers.py", "length += I2C_SMBUS_BLOCK_MAX", "length += 0"),
    ("model/controllers.py", "or msg.len < self.threshold", "or msg.len <= self.threshold"),
    ("model/hardware.py", "self._failed = bool(why) and not last", "self._failed = False"),
    ("model/memory.py", "self.linear_delta if linear else self.image_delta", "self.linear_delta"),
    ("model/dma_debug.py", "_OVERLAP_SINCE = (5, 15)", "_OVERLAP_SINCE = (5, 10)"),
    ("model/dma_debug.py", 'if self.overlap == "aligned":', 'if self.overlap == "never":'),
    ("model/dma_debug.py", "if entry.direction == DMA_TO_DEVICE:", "if entry.direction == DMA_FROM_DEVICE:"),
)
