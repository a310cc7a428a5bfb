"""Whether readings have noise of their own, where no state is seen exactly at a bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mho.fit.calibration import Array
from mho.fit.pulse.cell import CellFit
from mho.fit.pulse.solve import log_likelihood

READ_START = 0.01  # of the window: where the search for the noise of a reading begins

_GAIN = 2.0  # of log likelihood that it must bring
_SLACK = 5.0  # of log likelihood that a look without a search may be short of it
_SHARES = (0.1, 0.25, 0.45, 0.65)  # of the errors of single pulses that may be the readings'
_LEAST_SHARE = 0.02
_SPIKES = 2  # readings that bounds may be put on
_INSETS = (0.0, 1.0, 2.5)  # how many times its noise a bound may lie inside of the data
_NOISELESS = 1e-6  # errors of single pulses, of the window, below which there is no noise at all


def with_reading(fit: CellFit) -> Array | None:
    """Return parameters with noise of readings that may make a cell's data likelier, or None.

    A look at few values, without a search: with part of the noise of pulses given to readings,
    and with bounds that the readings' noise may have hidden.
    """
    given, theta = fit.solution.problem, fit.solution.theta
    error = _error(fit)
    if error < _NOISELESS:
        return None
    tried = []
    for share in _SHARES:
        noise = share * error
        for inset in _INSETS:
            at = theta.copy()
            at[0], at[1] = max(at[0], inset * noise), min(at[1], 1.0 - inset * noise)
            at[-2] += 0.5 * np.log(1.0 - 2.0 * share**2)
            at[-1] = np.log(noise)
            tried.append(at)
    reading = replace(given, theta=np.array(tried[0]))
    values = log_likelihood(reading, np.array(tried))
    best = int(np.nanargmax(values))
    return tried[best] if values[best] > fit.solution.value + _GAIN - _SLACK else None


def gained_by_reading(without: CellFit, noisy: CellFit) -> float:
    """Return by how much noise of readings makes the data likelier than it must.

    A bound put exactly on one reading makes that one likely, of whatever size its jump was: what
    two readings gain does not count. Noise that is lost beside the pulses' own is none.
    """
    if float(np.exp(noisy.solution.theta[-1])) < _LEAST_SHARE * _error(without):
        return -np.inf
    gains = np.sort(_log_density(noisy) - _log_density(without))
    return float(gains[:-_SPIKES].sum()) - _GAIN


def _log_density(fit: CellFit) -> Array:
    given = fit.solution.problem
    values: Array = given.predicted(fit.solution.theta).log_density.numpy()[given.trains.valid]
    return values


def _error(fit: CellFit) -> float:
    # Of single pulses, root mean square.
    given = fit.solution.problem
    errors: Array = given.predicted(fit.solution.theta).error.numpy()[given.trains.valid]
    return float(np.sqrt((errors**2).mean()))
