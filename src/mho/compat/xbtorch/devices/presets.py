"""Named devices.

The tables of XBTorch's own presets are data of that project, and not part of mho. Where its folder
of tables (``libdata``, with ``tabular/…`` in it) is at hand, name it in the environment variable
``MHO_XBTORCH_DATA``, and presets read it. Else they are made here, as each docstring says.
"""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mho.compat.xbtorch.devices.base import AnalyticalDevice, TabularDevice
from mho.compat.xbtorch.devices.utils import construct_cdf
from mho.devices.pulsed_presets import fefet
from mho.devices.tabular import JumpTable
from mho.devices.tabular import TabularDevice as Tables

__all__ = [
    "AnalyticalDevice",
    "AnalyticalIdeal",
    "AnalyticalReal",
    "TabularAnalyticalReal",
    "TabularCompactFeFETKriging",
    "TabularDevice",
    "TabularExperimentalFemFETKriging",
]

FOLDER = "MHO_XBTORCH_DATA"

# What the names of the compact model's tables may say.
_VOLTAGES = ("0.1", "0.5", "0.9", "1", "1.1", "1.5")  # read voltage (V)
_SPREADS = ("1", "5", "10", "15")  # of the cells (%)


class AnalyticalIdeal(AnalyticalDevice):
    """Straight lines and no noise: 3…38 nS in 500 levels."""

    def __init__(self) -> None:
        super().__init__(3e-9, 38e-9, 0.0, 0.0, 0.0, 0.0, 500)


class AnalyticalReal(AnalyticalDevice):
    """Nonlinearity 2.4 and -4.88, noise of 3.5 % of the window per pulse: 3…38 nS, 500 levels."""

    def __init__(self) -> None:
        super().__init__(3e-9, 38e-9, 0.0, 0.035, 2.4, -4.88, 500)


class TabularAnalyticalReal(TabularDevice):
    """Jump tables of `AnalyticalReal`: its mean jumps, a standard deviation of 1.2 nS."""

    def __init__(self) -> None:
        stem = _stem("synthetic/target_lc_ns_sd1.2_10000")
        tables = _analytical() if stem is None else Tables.from_tables(stem)
        self._adopt(tables.set_table, tables.reset_table, 500)


class TabularCompactFeFETKriging(TabularDevice):
    """Jump tables of a compact model of ferroelectric transistors, 32 levels.

    Without XBTorch's own tables these are of mho's multi-domain model, pulses of ±3 V and 50 ns;
    jumps then differ by the spread from cell to cell. The read voltage does not count, and a
    warning says so.

    Args:
        name: ends in ``…vgs_V_sd_S``: read voltage 0.1, 0.5, 0.9, 1, 1.1 or 1.5 V, and spread of
            the cells 1, 5, 10 or 15 %.

    Raises:
        ValueError: for another name.
    """

    def __init__(self, name: str) -> None:
        voltage, _, spread = ["", "", *name.split("_")][-3:]
        if voltage not in _VOLTAGES or spread not in _SPREADS:
            raise ValueError(
                f"name must end in vgs_V_sd_S with V of {', '.join(_VOLTAGES)} and S of "
                f"{', '.join(_SPREADS)}; got {name!r}"
            )
        stems = [_stem(f"fefet/Kriging_{way}{voltage}V_{spread}_SD") for way in ("set", "reset")]
        tables = [JumpTable.load(stem) for stem in stems if stem is not None]
        if not tables:
            warnings.warn(
                f"the tables of {name!r} are not at hand (see {FOLDER}): a model stands in, whose "
                f"cells differ by {spread} %, but whose read voltage is not {voltage} V",
                stacklevel=2,
            )
            self._d2d = float(spread) / 100.0
            tables = [fefet(3.0).set_table, fefet(3.0).reset_table]
        self._adopt(tables[0], tables[1], 32)


class TabularExperimentalFemFETKriging(TabularDevice):
    """Jump tables of ferroelectric transistors at a gate voltage, 50 levels.

    The measured tables were never published with XBTorch: these are of mho's multi-domain model,
    pulses of 50 ns.

    Args:
        name: ends in the voltage: ``…_vg3`` or ``…_3``, 2 … 4 V.

    Raises:
        ValueError: for another name.
    """

    def __init__(self, name: str) -> None:
        try:
            voltage = float(name.split("_")[-1].removeprefix("vg"))
        except ValueError:
            voltage = 0.0
        if not 2.0 <= voltage <= 4.0:
            raise ValueError(f"name must end in vgV, with V of 2 … 4 volts; got {name!r}")
        tables = fefet(voltage)
        self._adopt(tables.set_table, tables.reset_table, 50)


def _stem(name: str) -> Path | None:
    folder = os.environ.get(FOLDER)
    return Path(folder) / "tabular" / name if folder else None


@functools.lru_cache(maxsize=1)
def _analytical() -> Tables:
    g: Any = torch.linspace(3e-9, 38e-9, 100, dtype=torch.float64)
    dg: Any = np.linspace(-9e-9, 9e-9, 201)
    tables, real = [], AnalyticalReal().spec()
    for up in (True, False):
        mean = real.change(g, torch.full(g.shape, up), real.constants())
        tables.append(JumpTable(g, dg, construct_cdf(g, dg, mean, np.full(len(g), 1.2e-9))))
    return Tables(tables[0], tables[1])
