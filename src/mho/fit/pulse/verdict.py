"""The verdict of a pulse fit: a paragraph of words with numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mho.cells.spread import nominal
from mho.devices.pulsed import PulsedDevice
from mho.fit.calibration import Array, Calibration
from mho.fit.estimates import Estimates
from mho.fit.pulse.cell import CellData
from mho.fit.pulse.choice import Choice
from mho.fit.pulse.fitted import Fitted, ParametricFit
from mho.fit.pulse.laws import LAWS
from mho.fit.pulse.simulate import TRAINS

_SURE = 4.0  # standard errors by which a mean must be off to be called missed
_FEW_CYCLES = 4
_IMPOSSIBLE = 50.0  # of log likelihood a pulse: the law says that what was seen cannot be
_TITLES = {**{name: law.title for name, law in LAWS.items()}, "jump_table": "jump table"}


@dataclass(frozen=True)
class Findings:
    """What there is to say.

    Attributes:
        fit: the law fitted.
        chosen: whether it was chosen among all, rather than asked for.
        cells: data of the cells.
        untried: why there is no jump table; empty if there is one.
        device: the device.
        estimates: of its parameters.
        response: measured curves (S), see `mho.fit.PulseFit`.
        deviations: standard deviation of single curves (S).
        residuals: mean measured minus mean fitted (S).
        choice: the laws compared.
        calibration: held-out coverage.
    """

    fit: Fitted
    chosen: bool
    cells: tuple[CellData, ...]
    untried: str
    device: PulsedDevice
    estimates: Estimates
    response: tuple[Array, Array]
    deviations: tuple[Array, Array]
    residuals: tuple[Array, Array]
    choice: tuple[Choice, ...]
    calibration: Calibration | None


def words(f: Findings) -> str:
    """Return the verdict."""
    sentences = [
        _what(f),
        _misses(f),
        _noise(f),
        _others(f),
        _coverage(f),
        _spread(f),
        _bounds(f),
        _readings(f),
        _caveats(f),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _what(f: Findings) -> str:
    up, down = f.response
    cells, cycles = up.shape[:2]
    return (
        f"The {f.fit.title} was fitted to {_count(cells, 'cell')}, {_count(cycles, 'cycle')} of "
        f"{up.shape[2] - 1} set and {down.shape[2] - 1} reset pulses."
    )


def _misses(f: Findings) -> str:
    width = float(np.mean([cell.window.width for cell in f.cells]))
    worst, place, name = 0.0, 0.0, ""
    largest = max(float(np.abs(residual).max()) for residual in f.residuals) / width
    for way, half, residual, deviation in zip(
        ("set", "reset"), f.response, f.residuals, f.deviations, strict=True
    ):
        curves = half.shape[0] * half.shape[1]
        doubt = deviation * np.sqrt(1.0 / curves + 1.0 / TRAINS) + 1e-6 * width
        sure = np.where(np.abs(residual) > _SURE * doubt, np.abs(residual), 0.0)
        k = int(sure.argmax())
        if sure[k] > worst:
            worst, place, name = float(sure[k]), k / (len(sure) - 1), way
    if not worst:
        return (
            f"Its mean curves keep within {_percent(largest)} of the window of those measured, "
            "which the noise explains."
        )
    part = "first " if place < 0.3 else "last " if place > 0.7 else "middle "
    return f"It misses the {part}{name} pulses by {_percent(worst / width)} of the window."


def _noise(f: Findings) -> str:
    if "c2c" not in f.estimates:
        return ""
    found = f.estimates["c2c"]
    of = "window" if f.fit.name == "exponential" else "step that it makes"
    if found.value < 1e-6:
        return "Pulses do not differ from cycle to cycle."
    return (
        f"A pulse differs from cycle to cycle by {_percent(found.value)} ± "
        f"{_percent(found.error)} of the {of}."
    )


def _others(f: Findings) -> str:
    rows = {row.law: row for row in f.choice}
    own = rows[f.fit.name]
    best = min(f.choice, key=lambda row: row.behind)
    missing = f" No jump table was tried: {f.untried}." if f.untried else ""
    if len(f.choice) == 1:
        return missing.strip()
    if f.chosen:
        names = _listed([f"the {_TITLES[row.law]}" for row in f.choice if row.law != own.law])
        if best.law == own.law:
            said = f"It predicts pulses left out best, before {names}."
        else:
            said = (
                f"It is the simplest law that predicts pulses left out within a standard error of "
                f"the best, the {_TITLES[best.law]}."
            )
        return said + missing
    if own.behind > max(own.behind_error, 0.0):
        if own.behind > _IMPOSSIBLE:
            how = "the law holds impossible some pulses that were seen"
        else:
            how = f"by {own.behind:.2g} ± {own.behind_error:.1g} of log likelihood a pulse"
        return f"A {_TITLES[best.law]} fits better: {how}.{missing}"
    return f"A {_TITLES['jump_table']} does not predict pulses left out any better.{missing}"


def _coverage(f: Findings) -> str:
    if f.calibration is None:
        return ""
    inside = dict(zip(f.calibration.levels, f.calibration.coverage, strict=True))
    return (
        f"Its 90 % intervals hold {100 * inside[0.9]:.1f} % of {f.calibration.count} such pulses."
    )


def _spread(f: Findings) -> str:
    if len(f.cells) == 1:
        return ""
    differing = f.device.spreads()
    told = [
        f"{name} by {f.estimates[f'{name}_spread']}"
        for name in differing
        if f"{name}_spread" in f.estimates
    ]
    shared = [name for name, spread in differing.items() if spread.shared]
    if not told:
        return "The cells do not differ by more than the errors of their fits."
    together = f"; {_listed(shared)} vary together" if shared else ""
    return f"From cell to cell differ (standard deviation): {', '.join(told)}{together}."


def _bounds(f: Findings) -> str:
    ends = []
    for name, stopped in zip(
        ("g_min", "g_max"), zip(*(cell.trains.stops for cell in f.cells), strict=True), strict=True
    ):
        if all(stopped):
            continue
        value = f.estimates.get(name, f"{nominal(getattr(f.device, name)):.4g}")
        where = f"in {stopped.count(False)} of {len(stopped)} cells " if any(stopped) else ""
        ends.append(f"{where}no pulse is seen stopped at {name} ({value} S)")
    if not ends:
        return "Pulses pile up at both bounds, which are so known, and which stop the cell."
    rest = ": what lies beyond the data is the law's extrapolation" if f.fit.parameters else ""
    said = " and ".join(ends) + rest
    return said[0].upper() + said[1:] + "."


def _readings(f: Findings) -> str:
    if "read_noise" in f.estimates:
        return f"Readings have noise of their own, estimated at {f.estimates['read_noise']} S."
    if any(any(cell.trains.stops) for cell in f.cells):
        return "Readings have no noise of their own: states pile up at exactly one value."
    if isinstance(f.fit, ParametricFit):
        return "No noise of the readings is seen; all noise is taken as the cell's."
    return ""


def _caveats(f: Findings) -> str:
    cells, cycles = f.response[0].shape[:2]
    told = []
    levels = (getattr(f.device, "levels", None), getattr(f.device, "levels_reset", None))
    measured = (f.response[0].shape[2] - 1, f.response[1].shape[2] - 1)
    if levels[0] is not None and levels != measured:
        told.append(
            f"the window is spanned by {levels[0]} set and {levels[1]} reset pulses rather than by "
            "those measured"
        )
    if cycles < _FEW_CYCLES:
        told.append(f"{_count(cycles, 'cycle')} cannot tell noise from a misfit of the law")
    if cells == 1:
        told.append("one cell says nothing of the spread from cell to cell")
    elif cells < 5:
        told.append(f"{cells} cells tell a spread only roughly")
    unknown = [name for name in f.estimates if not np.isfinite(f.estimates[name].error)]
    if unknown:
        told.append(f"the data do not tell {_listed(unknown)}")
    said = "; ".join(told)
    return f"Mind: {said}." if said else ""


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
