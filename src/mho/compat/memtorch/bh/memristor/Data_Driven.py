"""Data-driven, 2018, and what it shares with the model of 2021."""
# ruff: noqa: N801, N999

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mho.compat._common import require
from mho.compat.memtorch.bh.memristor._model import Modelled
from mho.compat.memtorch.bh.memristor._signals import each
from mho.compat.memtorch.bh.memristor._specs import TwoBranch2018
from mho.compat.memtorch.bh.memristor.Memristor import plots
from mho.core.checks import plain


class PerResistance(Modelled):
    """What both data-driven models share: a conductance of ``1/R``, and one step a sample."""

    _renamed: ClassVar = {
        **{"a_p": "A_p", "a_n": "A_n"},
        **{"a": "a_p", "b": "b_p", "a_neg": "a_n", "b_neg": "b_n"},
    }

    @classmethod
    def _fields(cls, p: Any) -> dict[str, Any]:
        (r_p0, r_p1), (r_n0, r_n1) = coefficients("r_p", p.r_p), coefficients("r_n", p.r_n)
        return {**super()._fields(p), "r_p0": r_p0, "r_p1": r_p1, "r_n0": r_n0, "r_n1": r_n1}

    @classmethod
    def _refuse(cls, p: Any) -> None:
        super()._refuse(p)
        cls._fields(p)  # refuses coefficients

    def resistance(self, voltage: float) -> float:
        """Return the resistance (Ω) after one sample of a voltage (V), which does not move it."""
        spec, p = self._cell.equations()
        x, step = self._state, float(self.time_series_resolution)
        return each(lambda v: 1.0 / spec.conductance_at(spec.pulse(x, v, step, p), p), voltage)

    def _moved(self, voltage: float, seconds: float) -> float:
        return 1.0 / min(max(float(self.resistance(voltage)), self.r_on), self.r_off)

    plot_hysteresis_loop, plot_bipolar_switching_behaviour = plots((1e-3, 1.5, 10e3), (1.5, 10e3))


class Data_Driven(PerResistance, tensor=True):
    """The data-driven model of 2018: `mho.devices.DataDriven2018`. The conductance is ``1/R``.

    Args:
        time_series_resolution: time between two samples of a signal (s).
        r_off: largest resistance (Ω).
        r_on: least resistance (Ω).
        A_p, A_n: speed under positive and under negative voltages (Ω/s).
        t_p, t_n: its exponents (1/V).
        k_p, k_n: steepness of the approach (1/Ω).
        r_p, r_n: bounds, coefficients of 1 and v (Ω, Ω/V).
        eta: 1 if positive voltages raise the resistance, -1 if they lower it.
        a_p, a_n: amplitude of the current (V).
        b_p, b_n: steepness of the current (1/V).
        **kwargs: ``reference=True`` takes the means of stochastic parameters.
    """

    _kind = TwoBranch2018

    def __init__(
        self,
        time_series_resolution: Any = 1e-8,
        r_off: Any = 17e3,
        r_on: Any = 1280,
        A_p: Any = 743.47,
        A_n: Any = -68012.28374,
        t_p: Any = 6.51,
        t_n: Any = 0.31645,
        k_p: Any = 5.11e-4,
        k_n: Any = 1.17e-3,
        r_p: Any = [16719, 0],  # noqa: B006 - never changed
        r_n: Any = [29304.82557, 23692.77225],  # noqa: B006
        eta: Any = 1,
        a_p: Any = 0.24,
        a_n: Any = 0.24,
        b_p: Any = 3,
        b_n: Any = 3,
        **kwargs: Any,
    ) -> None:
        self._adopt(locals())

    @classmethod
    def _fields(cls, p: Any) -> dict[str, Any]:
        return {**super()._fields(p), "eta": float(p.eta)}

    @classmethod
    def _refuse(cls, p: Any) -> None:
        require(p.eta in (1, -1), f"eta must be 1 or -1, got {p.eta!r}")
        super()._refuse(p)


def coefficients(name: str, given: Any) -> tuple[float, float]:
    """Return the two coefficients of a bound that is linear in the voltage.

    Raises:
        Refused: if there are more than two, or none.
    """
    fits = np.ndim(given) == 1 and 1 <= len(given) <= 2
    require(fits, f"{name} must be one or two coefficients, of 1 and v; got {given!r}")
    return (float(plain(given[0])), float(plain(given[1])) if len(given) == 2 else 0.0)
