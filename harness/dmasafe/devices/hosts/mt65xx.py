# SPDX-License-Identifier: GPL-2.0-or-later
"""MediaTek's I2C controller with its own DMA engine, as in the MT8173: upstream i2c-mt65xx."""

from __future__ import annotations

from errno import ENOMEM, ENXIO, ETIMEDOUT

from dmasafe.devices.hosts.declaration import DeviceTree, HostModel, Window
from dmasafe.devices.hosts.policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-mt65xx.c in Linux 7.3.
POLICY = HostPolicy(
    "i2c-mt65xx",
    rules=(
        # The helper has no buffer for nothing.
        Rule(Path.REFUSED, "mtk_i2c_do_transfer() 1091, 1114", most=0, errno=ENOMEM),
        Rule(Path.HELPER, "mtk_i2c_do_transfer() 1091, 1114, 1137: always DMA", least=1),
    ),
    nak=(
        Ending(
            ENXIO,
            "unmaps and gives the buffer back as if it had been transferred, then resets the controller",
            "1204-1222, 1231",
            copies=True,
        ),
    ),
    lost=(
        Ending(
            ETIMEDOUT,
            "no handler completes for I2C_ARB_LOST alone: what the time-out does",
            "mtk_i2c_irq() 1340",
            copies=True,
            unsafe=True,
        ),
    ),
    timeout=(
        Ending(
            ETIMEDOUT,
            "unmaps and frees the copy, then resets controller and DMA engine: until then the hardware has it",
            "1204-1222 before 1227",
            copies=True,
            unsafe=True,
        ),
    ),
    timeout_s=2.0,  # 1416
    notes=("a write and a read of the same slave are one transaction with two buffers (1262)",),
)

HOST = HostModel(
    "mt65xx",
    module="i2c-mt65xx",
    symbol="I2C_MT65XX",
    architectures=("aarch64",),
    place=DeviceTree(
        # Documentation/devicetree/bindings/i2c/i2c-mt65xx.yaml
        """
        mt65xx_clk: clock-mt65xx {{
            compatible = "fixed-clock";
            #clock-cells = <0>;
            clock-frequency = <26000000>;
        }};
        i2c@{base} {{
            compatible = "mediatek,mt8173-i2c";
            reg = <{reg}>;
            interrupts = <{interrupt}>;
            clock-div = <1>;
            clocks = <&mt65xx_clk>, <&mt65xx_clk>;
            clock-names = "main", "dma";
            #address-cells = <1>;
            #size-cells = <0>;
        }};
        """,
        windows=(Window(0, 0x1000), Window(0x1000, 0x80)),
    ),
    policy=POLICY,
    needs=("ARCH_MEDIATEK",),
)
