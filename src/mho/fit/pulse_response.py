"""Pulse-count devices, fitted to the response of cells to set and reset pulses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mho.core import checks
from mho.core.extras import pip
from mho.devices.pulsed import PulsedDevice
from mho.fit.calibration import Array, Calibration
from mho.fit.estimates import Estimates
from mho.fit.printed import Printed
from mho.fit.pulse import data, table
from mho.fit.pulse.cell import CellData
from mho.fit.pulse.choice import Choice, chosen
from mho.fit.pulse.choice import table as compared
from mho.fit.pulse.fitted import (
    CHOICE_CELLS,
    Fitted,
    ParametricFit,
    fit_parametric,
    fit_table,
    some,
)
from mho.fit.pulse.laws import LAWS
from mho.fit.pulse.simulate import Curve, simulated
from mho.fit.pulse.verdict import Findings, words

TABLE = "jump_table"
_ALL = (*LAWS, TABLE)


@dataclass(frozen=True, repr=False)
class PulseFit(Printed):
    """A device fitted to a pulse response.

    Attributes:
        device: the device; with `Spread` parameters where several cells were measured and differ.
        law: name of its law.
        estimates: of all parameters fitted; of several cells the population's means and, as
            ``…_spread``, its standard deviations from cell to cell. Of one cell's jump table none.
        response: the measured set and reset curves (S), each ``[cells, cycles, pulses + 1]``.
        curves: mean of the fitted cells' curves (S), noise and bounds included, each
            ``[pulses + 1]``.
        deviations: standard deviation (S) of a single curve about the mean of its cell's, each
            ``[pulses + 1]``.
        bands: the 5 %, 50 % and 95 % quantiles (S) of all fitted cells' curves, each
            ``[3, pulses + 1]``.
        residuals: measured mean over cells and cycles minus fitted (S), each ``[pulses + 1]``.
        choice: how well each law tried predicts pulses left out of its fit, the simplest first.
        calibration: coverage of these pulses by the law's intervals; None without any noise.
        cells: estimates of each cell, where the law has parameters.
        verdict: how good the fit is, in words.
    """

    device: PulsedDevice
    law: str
    estimates: Estimates
    response: tuple[Array, Array]
    curves: tuple[Array, Array]
    deviations: tuple[Array, Array]
    bands: tuple[Array, Array]
    residuals: tuple[Array, Array]
    choice: tuple[Choice, ...]
    calibration: Calibration | None
    cells: tuple[Estimates, ...]
    verdict: str


def pulses(response: Any, *, law: str = "best", seed: int = 0) -> PulseFit:
    """Fit a pulse-count device to a pulse response, and say how sure it is.

    The parameters of a law maximise the likelihood of every single pulse: normal about the law's
    mean step from where the cell stood, with the law's own noise, and stopped at the bounds
    (`mho.fit.pulse.likelihood`). A fit to the mean curve would be biased by that stop, however
    many cycles it had. Where no state is seen exactly at a bound, noise of the readings is fitted
    too, if it makes the data likelier. ± come from the observed information.

    ``law="best"`` takes the simplest law within one standard error of the best held-out likelihood:
    every pulse is predicted by a fit without its cycle (with fewer than four cycles: without its
    part of the train; of many cells five are tried so). A law asked for by name is compared
    with the jump table alone.

    Several cells give their population: every cell is fitted for itself, and what the estimates
    differ by beyond their errors is the spread from cell to cell (`mho.fit.pulse.population`).

    Args:
        response: conductances (S) after 0, 1, … set pulses, and after 0, 1, … reset pulses: a
            pair of arrays ``[pulses + 1]``, ``[cycles, pulses + 1]`` or ``[cells, cycles,
            pulses + 1]``, of unlike lengths if need be. The response of one cell is as
            `PulsedCells.respond` gives it; that of several has its first two axes transposed.
        law: ``"soft_bounds"`` (`SoftBoundsDevice`), ``"exponential"`` (`ExponentialDevice`),
            ``"power"`` (`PowStep`), ``"piecewise"`` (`PiecewiseStep`), ``"jump_table"``
            (`TabularDevice`; needs scikit-learn), or ``"best"`` of them.
        seed: of the choice of the pulses left out, and of simulated curves.

    Raises:
        TypeError, ValueError: if the response or an argument is refused: fewer than 8 pulses, a
            half that does not rise (set) or fall (reset), numbers that are not finite.
        ImportError: if a jump table is asked for and scikit-learn is missing.
    """
    checks.one_of("law", law, ("best", *_ALL))
    seed = checks.integer("seed", seed, least=0)
    halves = data.halves(response)
    cells = tuple(CellData.of(*pair) for pair in zip(*halves, strict=True))
    untried = _untried(cells)
    if law == TABLE and untried:
        raise (ImportError if not table.available() else ValueError)(f"no jump table: {untried}")
    tried = tuple(some(cells, CHOICE_CELLS)) if law == "best" else cells
    fits = _fits(law, tried, tables=not untried, seed=seed)
    left_out = {name: fit.held_out(seed) for name, fit in fits.items()}
    choice = compared(left_out, {name: fit.parameters for name, fit in fits.items()})
    best = chosen(choice) if law == "best" else law
    fit = fits[best]
    if len(tried) < len(cells):
        fit = _fits(best, cells, tables=best == TABLE, seed=seed)[best]
    curves = _curves(fit, cells, halves, seed)
    findings = Findings(
        fit=fit,
        chosen=law == "best",
        cells=cells,
        untried=untried,
        device=fit.device(),
        estimates=fit.estimates(),
        response=halves,
        deviations=(curves[0].deviation, curves[1].deviation),
        residuals=(
            halves[0].mean(axis=(0, 1)) - curves[0].mean,
            halves[1].mean(axis=(0, 1)) - curves[1].mean,
        ),
        choice=choice,
        calibration=None if _noiseless(fit) else left_out[best].calibration(seed),
    )
    own = fit.of_cell if isinstance(fit, ParametricFit) else None
    return PulseFit(
        device=findings.device,
        law=fit.name,
        estimates=findings.estimates,
        response=halves,
        curves=(curves[0].mean, curves[1].mean),
        deviations=findings.deviations,
        bands=(curves[0].band, curves[1].band),
        residuals=findings.residuals,
        choice=choice,
        calibration=findings.calibration,
        cells=() if own is None else tuple(own(k) for k in range(len(cells))),
        verdict=words(findings),
    )


def exponential(response: Any, *, seed: int = 0) -> PulseFit:
    """Fit an `ExponentialDevice` to a pulse response: ``pulses(response, law="exponential")``.

    Args:
        response: see `pulses`.
        seed: see `pulses`.

    Raises:
        TypeError, ValueError: see `pulses`.
    """
    return pulses(response, law="exponential", seed=seed)


def _untried(cells: tuple[CellData, ...]) -> str:
    # Why there is no jump table; empty if there is one.
    if not table.available():
        return f"it needs scikit-learn: {pip('viz')}"
    if not all(table.enough(cell.trains) for cell in cells):
        return f"it needs {table.LEAST_STEPS} pulses of each direction from every cell"
    return ""


def _fits(law: str, cells: tuple[CellData, ...], *, tables: bool, seed: int) -> dict[str, Fitted]:
    # The law asked for, or all of them; and jump tables, which take the noise of readings from
    # the law that fits best: they have no other way of telling it.
    names = {"best": (*LAWS,), TABLE: ("exponential", "piecewise")}.get(law, (law,))
    fits = {name: fit_parametric(LAWS[name], cells) for name in names}
    found: dict[str, Fitted] = {} if law == TABLE else dict(fits)
    if tables:
        best = max(fits.values(), key=lambda fit: sum(c.solution.value for c in fit.cells))
        noise = float(np.mean([cell.numbers[-1] for cell in best.cells]))
        found[TABLE] = fit_table(cells, read_noise=noise, seed=seed)
    return found


def _curves(
    fit: Fitted, cells: tuple[CellData, ...], halves: tuple[Array, Array], seed: int
) -> list[Curve]:
    models = [fit.cell_model(k) for k in range(len(cells))]
    windows = [cell.window for cell in cells]
    return [
        simulated(models, windows, half, up, seed)
        for half, up in zip(halves, (True, False), strict=True)
    ]


def _noiseless(fit: Fitted) -> bool:
    # Intervals of no width hold nothing and everything.
    return isinstance(fit, ParametricFit) and all(
        cell.solution.theta[-2] < math.log(1e-6) and not cell.solution.problem.reads
        for cell in fit.cells
    )
