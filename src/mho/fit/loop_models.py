"""What a loop fit may vary in each model, and between which bounds.

Bounds follow the data: a cell of nanoamperes and one of milliamperes are fitted alike. Every
parameter is searched on a scale from 0 to 1 between its bounds, logarithmic where it spans decades.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.jart_vcm import JARTVCM
from mho.devices.stanford_pku import StanfordPKU
from mho.devices.switching import SwitchingDevice
from mho.devices.vteam import VTEAM
from mho.devices.yakopcic import Yakopcic
from mho.fit.calibration import Array


@dataclass(frozen=True)
class Scale:
    """The sizes of measured loops, from which bounds follow.

    Attributes:
        volts: largest voltage (V).
        high: conductance of low resistance (S).
        low: conductance of high resistance (S).
        seconds: that an excursion lasts (s).
        polarity: +1 where a positive voltage sets.
    """

    volts: float
    high: float
    low: float
    seconds: float
    polarity: int

    @property
    def middle(self) -> float:
        """Resistance between both states (Ω)."""
        return 3.0 / float(np.sqrt(self.high * self.low))


@dataclass(frozen=True)
class Free:
    """One parameter of a search.

    Attributes:
        name: of the device's field, the access's, or ``start``.
        low: bound.
        high: bound.
        logarithmic: whether the scale between them is; both then have one sign.
        likely: where the search begins to look; in the middle of the scale if not given.
    """

    name: str
    low: float
    high: float
    logarithmic: bool = False
    likely: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                f"bounds of {self.name!r} must have low < high, got ({self.low!r}, {self.high!r})"
            )
        if self.logarithmic and self.low * self.high <= 0.0:
            raise ValueError(
                f"bounds of {self.name!r} must be of one sign and not 0 (it is searched by its "
                f"logarithm), got ({self.low!r}, {self.high!r})"
            )

    @property
    def guess(self) -> float:
        """The part of the way at which the likely value lies."""
        if self.likely is None:
            return 0.5
        return float(self.part(np.clip(self.likely, self.low, self.high)))

    def value(self, part: Array) -> Array:
        """Return what lies at the part of the way from ``low`` to ``high``."""
        if self.logarithmic:
            found: Array = self.low * (self.high / self.low) ** part
            return found
        return self.low + (self.high - self.low) * part

    def part(self, value: Array) -> Array:
        """Return the part of the way at which a value lies."""
        if self.logarithmic:
            found: Array = np.log(value / self.low) / np.log(self.high / self.low)
            return found
        return (value - self.low) / (self.high - self.low)

    def slope(self, part: Array) -> Array:
        """Return the derivative of `value`."""
        if self.logarithmic:
            found: Array = self.value(part) * np.log(self.high / self.low)
            return found
        return np.full_like(part, self.high - self.low)


@dataclass(frozen=True)
class LoopModel:
    """A model as loops are fitted with it.

    Attributes:
        name: as users call it.
        device: makes the device whose free fields are replaced.
        free: makes the parameters searched, but for the access's.
        varies: the fields that may differ from cycle to cycle.
        costly: whether its currents are solved for inside: fewer candidates and cycles are looked
            at, and ``best`` leaves it out.
    """

    name: str
    device: Callable[[Scale], SwitchingDevice]
    free: Callable[[Scale], tuple[Free, ...]]
    varies: tuple[str, ...]
    costly: bool = False


def _sizes(name: str, low: float, high: float, likely: float, sign: int = 1) -> Free:
    # Of one sign, over decades.
    ends = sorted((sign * low, sign * high))
    return Free(name, ends[0], ends[1], logarithmic=True, likely=sign * likely)


def _vteam(s: Scale) -> tuple[Free, ...]:
    speed = 3e-9 / s.seconds
    return (
        _sizes("r_on", 0.02 / s.high, 2.0 / s.high, 1.0 / s.high),
        _sizes("r_off", 2.1 / s.high, 100.0 / s.low, 1.0 / s.low),
        _sizes("v_on", 0.02 * s.volts, s.volts, 0.3 * s.volts, -1),
        _sizes("v_off", 0.02 * s.volts, s.volts, 0.3 * s.volts),
        _sizes("k_on", 1e-5 * speed, 1e5 * speed, speed, -1),
        _sizes("k_off", 1e-5 * speed, 1e5 * speed, speed),
        Free("alpha_on", 0.3, 10.0, likely=3.0),
        Free("alpha_off", 0.3, 10.0, likely=3.0),
    )


def _yakopcic(s: Scale) -> tuple[Free, ...]:
    amps = s.high * s.volts
    return (
        _sizes("a1", 0.01 * amps, 30.0 * amps, 0.5 * amps),
        _sizes("a2", 0.01 * amps, 30.0 * amps, 0.5 * amps),
        Free("b", 0.1 / s.volts, 12.0 / s.volts, likely=3.0 / s.volts),
        Free("v_p", 0.0, 0.9 * s.volts, likely=0.25 * s.volts),
        Free("v_n", 0.0, 0.9 * s.volts, likely=0.25 * s.volts),
        _sizes("amplitude_p", 1e-3 / s.seconds, 1e8 / s.seconds, 30.0 / s.seconds),
        _sizes("amplitude_n", 1e-3 / s.seconds, 1e8 / s.seconds, 30.0 / s.seconds),
        Free("x_p", 0.0, 0.99, likely=0.3),
        Free("x_n", 0.0, 0.99, likely=0.3),
        Free("alpha_p", 0.0, 60.0, likely=5.0),
        Free("alpha_n", 0.0, 60.0, likely=5.0),
    )


def _stanford_pku(s: Scale) -> tuple[Free, ...]:
    amps = s.high * s.volts
    power = amps * s.volts
    return (
        _sizes("i0", 0.01 * amps, 1e4 * amps, 2.0 * amps),
        _sizes("g0", 0.05e-9, 1e-9, 0.25e-9),
        _sizes("v0", 0.03 * s.volts, 2.0 * s.volts, 0.15 * s.volts),
        _sizes("velocity", 1e-3, 1e7, 10.0),
        Free("gamma0", 2.0, 60.0, likely=16.0),
        Free("beta", 0.0, 30.0, likely=2.0),
        _sizes("r_th", 0.01 / power, 3000.0 / power, 10.0 / power),
    )


def _data_driven(s: Scale) -> tuple[Free, ...]:
    middle = s.middle
    slope = 6.0 * middle / s.volts
    return (
        Free("b", 0.1 / s.volts, 12.0 / s.volts, likely=4.0 / s.volts),
        _sizes("r_on", 0.01 / s.high, 1.0 / s.high, 0.3 / s.high),
        _sizes("r_off", 1.1 / s.high, 100.0 / s.low, 1.0 / s.low),
        Free("r_p0", -3.0 * middle, 3.0 * middle),
        Free("r_p1", -slope, slope),
        Free("r_n0", -3.0 * middle, 3.0 * middle),
        Free("r_n1", -slope, slope),
    )


def _data_driven_2018(s: Scale) -> tuple[Free, ...]:
    speed = s.middle / s.seconds
    return (
        *_data_driven(s),
        _sizes("a_p", 1e-8 * speed, 1e4 * speed, 1e-2 * speed),
        _sizes("a_n", 1e-8 * speed, 1e4 * speed, 1e-2 * speed, -1),
        Free("t_p", 0.3 / s.volts, 60.0 / s.volts, likely=12.0 / s.volts),
        Free("t_n", 0.3 / s.volts, 60.0 / s.volts, likely=12.0 / s.volts),
        _sizes("k_p", 0.01 / s.middle, 100.0 / s.middle, 1.0 / s.middle),
        _sizes("k_n", 0.01 / s.middle, 100.0 / s.middle, 1.0 / s.middle),
    )


def _data_driven_2021(s: Scale) -> tuple[Free, ...]:
    speed = 1.0 / (s.middle * s.seconds)
    return (
        *_data_driven(s),
        _sizes("a_p", 1e-4 * speed, 1e5 * speed, 30.0 * speed),
        _sizes("a_n", 1e-4 * speed, 1e5 * speed, 30.0 * speed, -1),
        _sizes("t_p", 0.01 * s.volts, 2.0 * s.volts, 0.2 * s.volts, -1),
        _sizes("t_n", 0.01 * s.volts, 2.0 * s.volts, 0.2 * s.volts, -1),
    )


def _jart(s: Scale) -> tuple[Free, ...]:
    return (
        _sizes("radius", 5e-9, 500e-9, 45e-9),
        _sizes("l_disc", 0.1e-9, 2.5e-9, 0.4e-9),
        _sizes("n_min", 0.0005e26, 0.4e26, 0.008e26),
        _sizes("n_max", 0.5e26, 200e26, 20e26),
        Free("barrier", 0.11, 0.5, likely=0.18),
        Free("activation", 0.6, 2.0, likely=1.35),
        _sizes("r_th", 1e4, 1e9, 1.5e7),
        Free("reset_heating", 0.01, 1.5, likely=0.27),
        _sizes("r_tiox", 0.01 / s.high, 2.0 / s.high, 0.3 / s.high),
    )


MODELS = {
    model.name: model
    for model in (
        LoopModel(
            "vteam", lambda s: VTEAM(), _vteam, ("r_on", "r_off", "v_on", "v_off", "k_on", "k_off")
        ),
        LoopModel(
            "yakopcic",
            lambda s: Yakopcic(eta=s.polarity),
            _yakopcic,
            ("a1", "a2", "v_p", "v_n", "x_p", "x_n", "amplitude_p", "amplitude_n"),
        ),
        LoopModel(
            "stanford_pku",
            # The random term is no part of a loop's mean. The energy is not told apart from the
            # velocity (and from r_th) by a sweep at one rate; no least field is needed.
            lambda s: StanfordPKU(delta_gap=0.0, f_min=0.0),
            _stanford_pku,
            ("i0", "gamma0", "beta", "velocity"),
        ),
        LoopModel(
            "data_driven_2018",
            # The amplitude a only scales R: chosen so that R is about the resistance.
            lambda s: DataDriven2018(a=0.25 * s.volts),
            _data_driven_2018,
            ("r_on", "r_off", "r_p0", "r_n0", "a_p", "a_n"),
        ),
        LoopModel(
            "data_driven_2021",
            lambda s: DataDriven2021(a=0.25 * s.volts),
            _data_driven_2021,
            ("r_on", "r_off", "r_p0", "r_n0", "a_p", "a_n"),
        ),
        LoopModel(
            "jart",
            # What stands in series is the access's, but for the oxide's own resistance.
            lambda s: JARTVCM(r_line=0.0),
            _jart,
            ("radius", "l_disc", "n_min", "n_max", "activation", "r_th"),
            costly=True,
        ),
    )
}
