# SPDX-License-Identifier: GPL-2.0-or-later
"""Deliberate changes of the model's rules that the recordings of real guests must notice: (file, rule, wrong rule)."""

RULES: tuple[tuple[str, str, str], ...] = (
    ("i2c.py", "if msg.len < threshold or msg.len == 0:", "if msg.len <= threshold or msg.len == 0:"),
    ("i2c.py", "        if msg.flags & I2C_M_DMA_SAFE:\n", "        if not msg.flags & I2C_M_DMA_SAFE:\n"),
    ("i2c.py", "if xferred and msg.flags & I2C_M_RD:", "if msg.flags & I2C_M_RD:"),
    ("i2c.py", "return count if ret == 1 else ret", "return count if ret >= 0 else ret"),
    ("i2cdev.py", "msg.flags | I2C_M_DMA_SAFE, msg.len", "msg.flags, msg.len"),
    ("i2cdev.py", "I2C_RDWR_IOCTL_MAX_MSGS: Final = 42", "I2C_RDWR_IOCTL_MAX_MSGS: Final = 43"),
    ("i2cdev.py", "if msg.len > I2CDEV_MAX_BYTES:", "if msg.len >= I2CDEV_MAX_BYTES:"),
    ("smbus.py", "LENGTH_CHECK_SINCE = (6, 1, 192)", "LENGTH_CHECK_SINCE = (6, 2)"),
    ("smbus.py", "last.len += 1", "last.len += 0"),
    ("smbus.py", "        msg.flags |= I2C_M_DMA_SAFE\n", ""),
    ("controllers.py", "VIRTIO_QUEUE_ENTRIES = 4", "VIRTIO_QUEUE_ENTRIES = 5"),
    ("controllers.py", "return 0 if ok else -ENXIO", "return 0 if ok else -EIO"),
    ("controllers.py", "length += I2C_SMBUS_BLOCK_MAX", "length += 0"),
    ("controllers.py", "or msg.len < self.threshold", "or msg.len <= self.threshold"),
    ("hardware.py", "self._failed = bool(why) and not last", "self._failed = False"),
    ("memory.py", "self.linear_delta if linear else self.image_delta", "self.linear_delta"),
    ("dma_debug.py", "_OVERLAP_SINCE = (5, 15)", "_OVERLAP_SINCE = (5, 10)"),
    ("dma_debug.py", 'if self.overlap == "aligned":', 'if self.overlap == "never":'),
    ("dma_debug.py", "if entry.direction == DMA_TO_DEVICE:", "if entry.direction == DMA_FROM_DEVICE:"),
)
