"""A chip's twin: the hardware that reproduces products measured on an array."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mho.core import checks, intake
from mho.crossbar.crossbar import Crossbar
from mho.effects import AccessResistance, StuckCells
from mho.fit import twin_search as search
from mho.fit.calibration import Array as Values
from mho.fit.judged import Judged, check_determined, check_noise, judge, names_of, parted
from mho.fit.printed import Printed
from mho.fit.twin_model import RESISTANCES, Array, State
from mho.fit.twin_task import CELLS, Found, Task
from mho.fit.twin_verdict import verdict
from mho.hardware import Hardware

FREE = ("gain", "offset", "read_noise", "shared_noise", "wires", "nonlinearity", "cells")
NAMES = (*FREE, "programming", *RESISTANCES)
_LEAST_READS = 20


@dataclass(frozen=True, repr=False)
class TwinFit(Judged, Printed):
    """The twin of a measured array.

    ``hardware`` is this very array: its wires, its noise, an `mho.Amplifier` with a gain and an
    offset for each of its lines, `mho.effects.StuckCells` at its suspicious cells. ``estimates``
    are ``gain[j]``, ``offset[j]`` (A), resistances (Ω), ``compression`` (1/A), ``read_noise``
    (relative), ``output_noise`` and ``shared_noise`` (A), ``programming`` (relative), and
    ``g[slice, row, col]`` (S) of suspicious cells.

    Attributes:
        conductances: of all cells, ``[slices, rows, cols]`` (S), as found.
        conductance_errors: their standard errors (S); 0 where they were taken as given.
        suspicious: mask of the cells that do not conduct what was given, of the same shape.
        inputs: held-out voltages ``[reads, rows]`` (V).
    """

    conductances: Values
    conductance_errors: Values
    suspicious: npt.NDArray[np.bool_]
    inputs: Values

    def crossbar(self, seed: int = 0) -> Crossbar:
        """Return a crossbar of this hardware that holds the conductances found.

        Its inputs are the voltages (V), its outputs currents (A) as the encoding combines them.

        Args:
            seed: of its read noise.

        Raises:
            ValueError: if there are no outputs: of a `SingleColumn` that has its offset column
                alone. `read` reads it nevertheless.
        """
        g = torch.from_numpy(self.conductances)
        if not self._outputs(g):
            raise ValueError(
                f"conductances must have at least 2 columns for a crossbar of "
                f"{type(self.hardware.encoding).__name__}, whose last is subtracted from the "
                "others; got 1, which read() reads"
            )
        return self._holding(g, seed)

    def _outputs(self, g: Tensor) -> int:
        return self.hardware.encoding.outputs(g[0, :1]).shape[-1]

    def _holding(self, g: Tensor, seed: int) -> Crossbar:
        outputs = self._outputs(g)
        # Drivers whose full scale is v_max take volts.
        drive = self.hardware.drive
        volts = self.hardware.replace(dac=drive.replace(range=drive.v_max, percentile=None))
        if volts.array.cols < g.shape[2]:
            volts = volts.replace(array=volts.array.replace(cols=g.shape[2]))
        crossbar = Crossbar(g.shape[1], outputs, volts, seed=seed, dtype=torch.float64)
        crossbar.store(g, scale=torch.ones_like(crossbar.scale))
        return crossbar

    def read(self, inputs: npt.ArrayLike, seed: int = 0) -> Values:
        """Read the twin, noise and all, as the array was measured.

        Args:
            inputs: voltages ``[reads, rows]`` (V).
            seed: of the read noise.

        Returns:
            Outputs ``[reads, lines]`` (A).
        """
        g = torch.from_numpy(self.conductances)
        lines = self.measured.shape[1]
        if not self._outputs(g):  # beside its one column another, of open cells
            g = torch.nn.functional.pad(g, (0, 1))
        crossbar = self._holding(g, seed)
        crossbar.commit(observed=True)
        (currents,) = crossbar.reader.observe(torch.as_tensor(intake.array("inputs", inputs)))
        adc, found = self.hardware.adc, currents[0, 0][:, :lines]
        if adc is not None:
            found = adc.convert(found, found.new_tensor(adc.range))
        values: Values = found.numpy()
        return values


def hardware(
    hardware: Hardware,
    inputs: npt.ArrayLike | Tensor,
    conductances: npt.ArrayLike | Tensor,
    outputs: npt.ArrayLike | Tensor,
    *,
    free: Collection[str] = FREE,
    held_out: float = 0.2,
    seed: int = 0,
    false_alarms: float = 0.01,
) -> TwinFit:
    """Find the parameters of an array that reproduce products measured on it.

    The model is that of `mho.Crossbar`, with one tile: currents ``f(v) @ T(G)`` of cells on exactly
    solved wires, then an `mho.Amplifier` for every line, then the converter. Reads have noise of
    the cells (relative to the window or to the conductance: what the hardware's `ReadNoise` says,
    else what is likelier) and of the amplifiers. All is fitted together by maximum likelihood
    (Gauss–Newton with gradients of the exact circuit, see `mho.fit.twin_solve`), standard errors
    are those of the observed information.

    Args:
        hardware: what is known: device, encoding, array, converters. What is free starts from it.
            Cells must be ohmic or separate (``I = g · f(v)``); an ADC must have a range in amperes.
        inputs: voltages on the word lines ``[reads, rows]`` (V).
        conductances: what the cells should hold, ``[rows, cols]`` or ``[slices, rows, cols]`` (S):
            verified values, or targets (then let ``"programming"`` be free).
        outputs: what was measured ``[reads, lines]`` (A); lines are columns, by converter.
        free: what is looked for, the rest stays as the hardware says: ``"gain"`` and ``"offset"``
            of every line; ``"read_noise"`` of cells and amplifiers; ``"shared_noise"`` that all
            lines of a read have in common, where there is any; ``"wires"`` (source, word and
            bit resistance, and the sense resistance where no gain is free), or some of
            ``"source"``, ``"word"``, ``"bit"``, ``"sense"``; ``"access"``: a resistance in series
            with every cell (`mho.effects.AccessResistance`); ``"nonlinearity"`` (compression of
            large currents); ``"cells"``: a few that do not conduct what they should;
            ``"programming"``: all cells differ from their targets by a normal error of one size,
            relative to the window or the target (what a `mho.effects.WriteNoise` of the hardware
            says, else what is likelier).
        held_out: share of the reads that is kept for judging the fit, 0.05…0.5.
        seed: of who is held out.
        false_alarms: share of sound cells among those found suspicious, 0…1.

    Raises:
        TypeError, ValueError: if data or hardware are refused, or if the data cannot determine
            what is looked for; the message says which reads or which other knowledge it takes.
    """
    checks.instance("hardware", hardware, Hardware)
    if any(isinstance(effect, StuckCells) for effect in hardware.effects):
        raise ValueError(
            "hardware must have no StuckCells: conductances say what every cell holds, the stuck "
            'ones too; "cells" in free finds those that are not known'
        )
    false_alarms = checks.number("false_alarms", false_alarms, above=0.0, below=1.0)
    names = names_of(free, NAMES)
    g = _conductances(conductances, hardware)
    v, y = _reads(inputs, outputs, g, hardware)
    _check_hardware(hardware, names)
    array = Array(hardware)
    fv = array.driven(v)
    start = State.of(hardware, g, y.shape[1], len(v))
    _check_inputs(fv, names)
    _check_currents(array.currents(start, fv), hardware, v, y, names)
    used, judged = parted(len(v), held_out, seed)
    task = Task(
        array,
        fv[used],
        y[used],
        replace(start, common=start.common[used]),
        frozenset(names),
        _wires(names, fixed_gain="gain" not in names),
        false_alarms,
    )
    check_noise(task, fv)
    found = search.search(task)
    check_determined(task, found)
    judged_so = judge(task, found, v=fv[judged], y=y[judged])
    result = TwinFit(
        **judged_so,
        conductances=found.state.g.numpy(),
        conductance_errors=_cell_errors(task, found).numpy(),
        suspicious=_shaped(task, found.odd).numpy(),
        inputs=v[judged].numpy(),
    )
    return replace(result, verdict=verdict(task, found, result))


# ── what is given ────────────────────────────────────────────────────────────────────────────


def _wires(names: tuple[str, ...], *, fixed_gain: bool) -> tuple[str, ...]:
    wanted = set(names)
    if "wires" in wanted:
        wanted |= set(RESISTANCES[:4] if fixed_gain else RESISTANCES[:3])
    return tuple(name for name in RESISTANCES if name in wanted)


def _conductances(given: Any, hardware: Hardware) -> Tensor:
    g = _tensor("conductances", given)
    if g.dim() == 2:
        g = g.unsqueeze(0)
    slices = hardware.encoding.slices
    if g.dim() != 3 or len(g) != slices:
        raise ValueError(
            f"conductances must have shape [slices = {slices}, rows, cols] for this encoding"
            f"{', or [rows, cols]' if slices == 1 else ''}, got {list(g.shape)}"
            "; a bare array has Hardware(encoding=SingleColumn())"
        )
    if float(g.min()) < 0.0:
        raise ValueError(f"conductances must be >= 0 S, got {float(g.min())!r}")
    rows, cols = g.shape[1:]
    if rows > hardware.array.rows or cols > hardware.array.cols:
        raise ValueError(
            f"conductances must fit one tile of {hardware.array.rows} × {hardware.array.cols}, "
            f"got {rows} × {cols}: fit tile by tile"
        )
    return g


def _reads(inputs: Any, outputs: Any, g: Tensor, hardware: Hardware) -> tuple[Tensor, Tensor]:
    v, y = _tensor("inputs", inputs), _tensor("outputs", outputs)
    lines = hardware.encoding.converters * g.shape[2]
    if v.dim() != 2 or v.shape[1] != g.shape[1]:
        raise ValueError(f"inputs must have shape [reads, {g.shape[1]}], got {list(v.shape)}")
    if y.dim() != 2 or y.shape != (len(v), lines):
        raise ValueError(f"outputs must have shape [{len(v)}, {lines}], got {list(y.shape)}")
    if len(v) < _LEAST_READS:
        raise ValueError(f"inputs must be of at least {_LEAST_READS} reads, got {len(v)}")
    return v, y


def _tensor(name: str, values: Any) -> Tensor:
    tensor = intake.tensor(name, values).detach().to("cpu", torch.float64).contiguous()
    checks.finite(name, tensor)
    if not tensor.numel():
        raise ValueError(f"{name} must not be empty")
    return tensor


def _check_hardware(hardware: Hardware, names: tuple[str, ...]) -> None:
    if not hardware.device.separable:
        raise ValueError(
            f"hardware must have cells that separate (I = g · f(v)), got {hardware.device}"
        )
    if hardware.array.interleaved:
        raise ValueError(
            "hardware must not be interleaved: give its array as bare columns, "
            "Hardware(encoding=SingleColumn())"
        )
    if hardware.array.exact_reads and not hardware.device.ohmic:
        raise ValueError("hardware must not have exact_reads: a twin's wires are linearised")
    if hardware.drive.mode != "amplitude":
        raise ValueError("hardware must have drivers of mode 'amplitude': inputs are voltages")
    known = (AccessResistance,)
    reading = [e for e in hardware.effects if e.acts_on("read") and not isinstance(e, known)]
    if reading:
        raise ValueError(
            f"hardware must not have {type(reading[0]).__name__}: conductances are as reads see "
            "them"
        )
    adc = hardware.adc
    if adc is not None and (isinstance(adc.range, str) or adc.method != "uniform"):
        raise ValueError(
            "hardware must have no ADC, or a uniform one whose range is in amperes: outputs are "
            f"currents; got {adc}"
        )
    alone = all(sum(a != 0 for a in row) == 1 for row in hardware.encoding.analog)
    if {"cells", "programming"} & set(names) and not alone:
        raise ValueError(
            "free must not name 'cells' or 'programming' where bit lines are subtracted before "
            "their converter: which cell of a pair is off cannot be told"
        )


def _check_inputs(v: Tensor, names: tuple[str, ...]) -> None:
    """Refuse reads that cannot tell what is looked for."""
    free = set(names)
    largest = float(v.abs().max())
    apart = float((v - v[0]).abs().max())
    if largest == 0.0:
        raise ValueError("inputs must not all be 0 V")
    if {"gain", "offset"} <= free and apart <= 1e-9 * largest:
        raise ValueError("inputs must differ: one input alone cannot tell a gain from an offset")
    if not free & {"cells", "programming"}:
        return
    idle = (v == 0).all(0).nonzero().flatten().tolist()
    if idle:
        raise ValueError(
            f"inputs must drive every row where cells are free; rows {idle} are never driven"
        )
    constant = torch.ones_like(v[:, :1]) if "offset" in free else v[:, :0]
    both = torch.cat((v / largest, constant), 1)
    rank, wanted = int(torch.linalg.matrix_rank(both)), both.shape[1]
    if rank < wanted:
        raise ValueError(
            f"inputs must be independent where cells are free: {v.shape[1]} rows"
            f"{' and an offset' if 'offset' in free else ''} need {wanted} independent reads, got "
            f"{rank}; drive single rows, or at random"
        )


def _check_currents(
    current: Tensor, hardware: Hardware, v: Tensor, y: Tensor, names: tuple[str, ...]
) -> None:
    """Refuse lines without current, outputs at a converter's end, voltages beyond a driver's."""
    dead = (current == 0).all(0).nonzero().flatten().tolist()
    if dead and "gain" in names:
        raise ValueError(
            f"conductances must let a current flow on every line whose gain is free; lines {dead} "
            "have none"
        )
    adc = hardware.adc
    if adc is not None and not isinstance(adc.range, str):
        ended = int((y.abs() >= adc.range * (1 - 1e-9)).sum())
        if ended:
            raise ValueError(
                f"outputs must be within the ADC's range of {adc.range:g} A: {ended} of "
                f"{y.numel()} are at its end and tell no size; drive smaller voltages"
            )
    drive, largest = hardware.drive, float(v.abs().max())
    if not drive.ideal and largest > drive.v_max * (1 + 1e-9):
        raise ValueError(
            f"inputs must be within the drivers' v_max = {drive.v_max:g} V, got up to {largest:g} V"
        )


# ── what was found ───────────────────────────────────────────────────────────────────────────


def _cell_errors(task: Task, found: Found) -> Tensor:
    variance = torch.where(found.fitted, found.solved.own_variance(), 0.0)[:, CELLS:]
    return search.as_cells(task, variance.sqrt(), found.cells)


def _shaped(task: Task, of_lines: Tensor) -> Tensor:
    """Return ``[lines, rows]``, shaped as the conductances."""
    slices, _, cols = task.start.g.shape
    if len(of_lines) != slices * cols:  # lines of several slices: no cells were looked at
        return torch.zeros(task.start.g.shape, dtype=of_lines.dtype)
    return of_lines.unflatten(0, (slices, cols)).transpose(1, 2).contiguous()
