# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's DMA and I2C API in user space: memory, DMA API, dma-debug, I2C core, SMBus, i2c-dev, regmap.

ModelKernel is the door for people, predict() the one for the harness. Nothing here knows how scenarios are run
elsewhere.
"""

from dmasafe.model.config import Config
from dmasafe.model.errors import KernelDied, ModelError, TaskHung
from dmasafe.model.kernel import ModelKernel
from dmasafe.model.predict import predict

__all__ = ["Config", "KernelDied", "ModelError", "ModelKernel", "TaskHung", "predict"]
