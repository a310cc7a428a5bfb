"""Tabular devices: pulses drawn from measured jump tables."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mho.cells.population import Cells
from mho.cells.spread import Spread, check, check_part, check_window, spread_about
from mho.core import checks, files
from mho.core.spec import Spec
from mho.devices.pulsed import PulsedCells, PulsedDevice
from mho.devices.trains import Cell

Array = npt.NDArray[np.float64]

_G_FILE, _DG_FILE, _CDF_FILE = "_axis_level_G.txt", "_axis_level_dG.txt", "_cdf.txt"
# Quantiles are kept at normal scores, evenly spaced and far into the tails: for rows near to
# normal, linear interpolation between them is then exact, and for any row the sampled CDF is
# within 0.0012 (the greatest mass between two scores) of the table's.
_SCORES, _LARGEST_SCORE = 4097, 6.0


@dataclass(frozen=True, repr=False)
class JumpTable(Spec):
    """Cumulative distributions of one pulse's jump ΔG, by the conductance it starts from.

    Row i is the distribution at conductance ``g[i]``, linear between its nodes; what probability
    a row leaves beyond the ends of the ΔG axis lies at the ends.

    Attributes:
        g: conductances of the rows (S), not decreasing (of equal ones the last counts).
        dg: jumps of the columns (S), increasing.
        cdf: ``[len(g)][len(dg)]`` probabilities of a jump <= ``dg``, not decreasing along a row.

    Raises:
        TypeError, ValueError: if the axes do not match or are out of order, a row is no CDF, or
            the ΔG axis misses most of a row's jumps.
    """

    g: tuple[float, ...]
    dg: tuple[float, ...]
    cdf: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        g, dg = _numbers("g", self.g, 1), _numbers("dg", self.dg, 1)
        cdf = _numbers("cdf", self.cdf, 2)
        if len(g) < 1 or len(dg) < 2:
            raise ValueError(f"a jump table needs >= 1 g and >= 2 dg, got {len(g)} and {len(dg)}")
        if cdf.shape != (len(g), len(dg)):
            hint = " (transposed?)" if cdf.shape == (len(dg), len(g)) else ""
            raise ValueError(
                f"cdf must have shape {[len(g), len(dg)]} (rows g, columns dg), "
                f"got {list(cdf.shape)}{hint}"
            )
        if (np.diff(g) < 0).any() or g[0] < 0:
            raise ValueError(f"g must be >= 0 and not decrease, got {g[0]:g} … {g[-1]:g}")
        if (np.diff(dg) <= 0).any():
            raise ValueError(f"dg must increase, got {dg[0]:g} … {dg[-1]:g}")
        self._check_rows(cdf)
        object.__setattr__(self, "g", tuple(g.tolist()))
        object.__setattr__(self, "dg", tuple(dg.tolist()))
        object.__setattr__(self, "cdf", tuple(map(tuple, cdf.tolist())))

    @staticmethod
    def _check_rows(cdf: Array) -> None:
        if cdf.min() < 0 or cdf.max() > 1:
            raise ValueError(f"cdf must lie in [0, 1], got {cdf.min():g} … {cdf.max():g}")
        falling = (np.diff(cdf, axis=1) < 0).any(axis=1)
        if falling.any():
            raise ValueError(
                f"cdf must not decrease along a row, but {falling.sum()} of {len(cdf)} rows do, "
                f"the first is row {int(falling.argmax())}"
            )
        inside = cdf[:, -1] - cdf[:, 0]
        if inside.min() < 0.5:
            raise ValueError(
                "the dg axis must hold at least half of every row's probability, but row "
                f"{int(inside.argmin())} has {inside.min():g} of it there"
            )

    def __repr__(self) -> str:
        return (
            f"JumpTable({len(self.g)} g in {self.g[0]:g} … {self.g[-1]:g} S, "
            f"{len(self.dg)} dg in {self.dg[0]:g} … {self.dg[-1]:g} S)"
        )

    __str__ = __repr__

    @classmethod
    def load(
        cls, stem: str | Path, *, unit: float = 1.0, dg_file: str | Path | None = None
    ) -> JumpTable:
        """Read the field's three text files ``{stem}_axis_level_G.txt``, ``…_dG``, ``…_cdf``.

        Args:
            stem: path and beginning of the names.
            unit: siemens per unit of the files (1e-6 for µS).
            dg_file: of the ΔG axis. If not given and the stem has none of its own, the axis in the
                same folder whose name shares the longest beginning with the stem's counts
                (``Kriging_set_axis_level_dG.txt`` for ``Kriging_set1.5V_10_SD``).

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file holds no numbers, or they make no jump table.
        """
        unit = checks.number("unit", unit, above=0.0)
        stem = checks.path("stem", stem)
        axis = checks.path("dg_file", dg_file) if dg_file is not None else _find_dg(stem)
        try:
            return cls(
                g=tuple((_read(_named(stem, _G_FILE)).ravel() * unit).tolist()),
                dg=tuple((_read(axis).ravel() * unit).tolist()),
                cdf=tuple(map(tuple, _read(_named(stem, _CDF_FILE)).tolist())),
            )
        except ValueError as error:
            raise ValueError(f"jump table {stem}: {error}") from None

    def save(self, stem: str | Path, *, unit: float = 1.0) -> None:
        """Write the three text files that `load` reads; ``unit`` is siemens per unit in them."""
        unit = checks.number("unit", unit, above=0.0)
        _write_tables({checks.path("stem", stem): self}, unit)

    def quantiles(self, probability: npt.ArrayLike) -> Array:
        """Return the jumps (S) that stay below with these probabilities, ``[rows, len(p)]``."""
        p = torch.as_tensor(np.atleast_1d(np.asarray(probability, dtype=np.float64)))
        if bool(((p < 0) | (p > 1)).any()):
            raise ValueError(f"probability must lie in [0, 1], got {probability!r}")
        return self._inverse(p).numpy()

    def mean(self) -> Array:
        """Return the mean jump (S) of every row, ``[rows]``."""
        dg, cdf = np.array(self.dg), np.array(self.cdf)
        # For a distribution on [a, b]: E = b − ∫ F.
        return dg[-1] - ((cdf[:, 1:] + cdf[:, :-1]) / 2 * np.diff(dg)).sum(axis=1)

    def _inverse(self, p: Tensor) -> Tensor:
        cdf = torch.tensor(self.cdf, dtype=torch.float64)
        dg = torch.tensor(self.dg, dtype=torch.float64)
        wanted = p.expand(len(cdf), len(p)).contiguous()
        right = torch.searchsorted(cdf, wanted, right=True).clamp(1, len(dg) - 1)
        low, high = cdf.gather(1, right - 1), cdf.gather(1, right)
        part = ((wanted - low) / (high - low).clamp_min(1e-300)).clamp(0.0, 1.0)
        return torch.lerp(dg[right - 1], dg[right], part)


@dataclass(frozen=True)
class TabularDevice(PulsedDevice):
    """A pulse draws its jump ΔG from a measured distribution at the cell's present conductance.

    The jump is the table's quantile function at a uniform draw, ``ΔG = gain·F⁻¹(U; G)``; between
    the rows of the table the quantile functions are interpolated linearly in G (so a distribution
    moves and widens between rows, and does not split in two), beyond its ends the last row counts.

    Source: T. Hossen et al., "Data-driven RRAM device models using Kriging interpolation",
    Scientific Reports 2022, doi 10.1038/s41598-022-09556-4.

    Attributes:
        set_table: jumps of a set pulse.
        reset_table: jumps of a reset pulse.
        g_min: lowest conductance (S); that of the tables if not given; a number or a `Spread`.
        g_max: highest conductance (S); that of the tables if not given; a number or a `Spread`.
        gain: factor on all jumps of a cell, >= 0; a number or a `Spread`.
        d2d: standard deviation of ``gain`` from cell to cell (gains stay positive), >= 0;
            shorthand for giving ``gain`` as a normal `Spread`.
        c2c: how much of the tables' own pulse-to-pulse spread counts: 1 as measured, 0 the median
            jump only.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    set_table: JumpTable
    reset_table: JumpTable
    g_min: float | Spread = None  # type: ignore[assignment]
    g_max: float | Spread = None  # type: ignore[assignment]
    gain: float | Spread = 1.0
    d2d: float = 0.0
    c2c: float = 1.0

    def __post_init__(self) -> None:
        tables = (self.set_table, self.reset_table)
        for name, table in zip(("set_table", "reset_table"), tables, strict=True):
            checks.instance(name, table, JumpTable)
        ends = {
            "g_min": min(table.g[0] for table in tables),
            "g_max": max(table.g[-1] for table in tables),
        }
        for name, end in ends.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, end)
        check_window(self.g_min, self.g_max)
        check("gain", self.gain, least=0.0)
        check_part("d2d", self.d2d)
        check_part("c2c", self.c2c)
        if self.d2d and isinstance(self.gain, Spread):
            raise ValueError("give either d2d or a Spread for gain, not both")

    @classmethod
    def from_tables(
        cls, stem: str | Path, *, unit: float = 1.0, **parameters: Any
    ) -> TabularDevice:
        """Read both tables, ``{stem}_set_…`` and ``{stem}_reset_…``; see `JumpTable.load`.

        Args:
            stem: path and beginning of the names.
            unit: siemens per unit of the files.
            **parameters: of the device.
        """
        stem = checks.path("stem", stem)
        return cls(
            set_table=JumpTable.load(_named(stem, "_set"), unit=unit),
            reset_table=JumpTable.load(_named(stem, "_reset"), unit=unit),
            **parameters,
        )

    def to_tables(self, stem: str | Path, *, unit: float = 1.0) -> None:
        """Write both tables as text files, as the field has them (`from_tables` reads them).

        The other parameters are not in them; `save` keeps all in one YAML file.
        """
        tables = {"_set": self.set_table, "_reset": self.reset_table}
        unit = checks.number("unit", unit, above=0.0)
        stem = checks.path("stem", stem)
        _write_tables({_named(stem, name): table for name, table in tables.items()}, unit)

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return TabularCells

    @property
    def noisy(self) -> bool:
        """Whether pulses differ from cycle to cycle."""
        return self.c2c > 0

    def spreads(self) -> dict[str, Spread]:
        """Return the parameters that differ from cell to cell."""
        spreads = super().spreads()
        if self.d2d and not isinstance(self.gain, Spread):
            spreads["gain"] = spread_about(self.gain, self.d2d * self.gain, low=0.0)
        return spreads

    def change(self, g: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the mean signed change (S) of one pulse; see `PulsedDevice.change`."""
        means = []
        for table in (self.set_table, self.reset_table):
            median = table.quantiles(0.5)[:, 0]
            rows = median + self.c2c * (table.mean() - median)
            means.append(np.interp(g.detach().cpu().double().numpy(), table.g, rows))
        both = [torch.as_tensor(mean, dtype=g.dtype, device=g.device) for mean in means]
        return cell["gain"] * torch.where(up, both[0], both[1])

    def jump(self, g: Tensor, up: Tensor, cell: Cell, generator: torch.Generator | None) -> Tensor:
        """Return the random change (S) of one pulse; see `PulsedDevice.jump`."""
        score = torch.zeros_like(g)
        if self.noisy:
            score.normal_(generator=generator)
        ways = []
        for table in (self.set_table, self.reset_table):
            axis, jumps = _jumps(table, self.c2c)
            ways.append(_quantile(axis.to(g), jumps.to(g), g, score))
        return cell["gain"] * torch.where(up, ways[0], ways[1])


class TabularCells(PulsedCells):
    """A population of tabular cells, with the tables as tensors (not part of ``state_dict``)."""

    spec: TabularDevice

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        tables = {"set": self.spec.set_table, "reset": self.spec.reset_table}
        for way, table in tables.items():
            axis, jumps = _jumps(table, self.spec.c2c)
            self.register_buffer(f"_{way}_axis", axis.to(self.g), persistent=False)
            self.register_buffer(f"_{way}_jumps", jumps.to(self.g), persistent=False)

    def _jump(self, g: Tensor, up: Tensor, cell: Cell, generator: torch.Generator) -> Tensor:
        score = torch.zeros_like(g)
        if self.spec.noisy:
            score.normal_(generator=generator)
        if bool(up.all()):
            jump = self._quantile("set", g, score)
        else:
            jump = torch.empty_like(g)
            for way, chosen in (("set", up), ("reset", ~up)):
                index = chosen.nonzero().squeeze(1)
                jump[index] = self._quantile(way, g[index], score[index])
        return cell["gain"] * jump

    def _quantile(self, way: str, g: Tensor, score: Tensor) -> Tensor:
        return _quantile(getattr(self, f"_{way}_axis"), getattr(self, f"_{way}_jumps"), g, score)


def _quantile(axis: Tensor, jumps: Tensor, g: Tensor, score: Tensor) -> Tensor:
    # The jump at a normal score of each cell: bilinear between rows and scores.
    row = (torch.searchsorted(axis, g, right=True) - 1).clamp_(0, len(axis) - 2)
    low = axis[row]
    weight = ((g - low) / (axis[row + 1] - low)).clamp_(0.0, 1.0)
    place = (score / _LARGEST_SCORE + 1.0) * ((_SCORES - 1) / 2)
    column = place.clamp_(0.0, _SCORES - 1.0).long().clamp_(max=_SCORES - 2)
    part = place - column
    index = row.mul_(_SCORES).add_(column)
    flat = jumps.flatten()
    below = torch.lerp(flat[index], flat[index + 1], part)
    index += _SCORES
    above = torch.lerp(flat[index], flat[index + 1], part)
    return torch.lerp(below, above, weight)


@functools.lru_cache(maxsize=8)
def _scores() -> Tensor:
    return torch.linspace(-_LARGEST_SCORE, _LARGEST_SCORE, _SCORES, dtype=torch.float64)


@functools.lru_cache(maxsize=16)
def _jumps(table: JumpTable, c2c: float) -> tuple[Tensor, Tensor]:
    # The rows' conductances, strictly increasing and at least two, and their jumps at the scores.
    g = torch.tensor(table.g, dtype=torch.float64)
    jumps = table._inverse(torch.special.ndtr(_scores()))
    median = jumps[:, _SCORES // 2, None]
    jumps = median + c2c * (jumps - median)
    last = torch.cat([g[1:] > g[:-1], torch.ones(1, dtype=torch.bool)])
    g, jumps = g[last], jumps[last]
    if len(g) == 1:
        return torch.cat([g, g + 1.0]), jumps.repeat(2, 1)
    return g, jumps


def _numbers(name: str, values: Any, dimensions: int) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be {dimensions}-dimensional numbers, all rows alike"
        ) from None
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s), got {array.ndim}")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be finite, but {(~np.isfinite(array)).sum()} entries are not"
        )
    return array


def _named(stem: Path, ending: str) -> Path:
    # Not with_suffix: names like "exp_1.5V" have points of their own.
    return stem.parent / (stem.name + ending)


def _write_tables(tables: Mapping[Path, JumpTable], unit: float) -> None:
    """Write all files of several tables, by their stems, or none."""
    written = {
        _named(stem, ending): values
        for stem, table in tables.items()
        for ending, values in (
            (_G_FILE, np.array(table.g) / unit),
            (_DG_FILE, np.array(table.dg) / unit),
            (_CDF_FILE, np.array(table.cdf)),
        )
    }
    with files.drafts(*written) as given:
        for draft, values in zip(given, written.values(), strict=True):
            np.savetxt(draft, values, fmt="%.17g")


def _read(path: Path) -> Array:
    if not path.is_file():
        raise FileNotFoundError(f"jump table file not found: {path}")
    lines = files.text(path).replace(",", " ").splitlines()
    try:
        rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path.name} is no table of numbers: {error}") from None


def _find_dg(stem: Path) -> Path:
    own = _named(stem, _DG_FILE)
    if own.is_file():
        return own
    shared = [
        path
        for path in stem.parent.glob(f"*{_DG_FILE}")
        if stem.name.startswith(path.name[: -len(_DG_FILE)])
    ]
    if not shared:
        raise FileNotFoundError(f"no ΔG axis for {stem}: neither {own.name} nor a shared one")
    return max(shared, key=lambda path: len(path.name))
