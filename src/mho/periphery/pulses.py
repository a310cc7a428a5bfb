"""PulseWidth: what drivers send that code an input in the length of a pulse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mho.core import checks
from mho.core.spec import Spec

SIGNS = ("bipolar", "two_phase")
IDLE = ("driven", "floating")


@dataclass(frozen=True)
class PulseWidth(Spec):
    """Pulses of one voltage whose lengths are the inputs (`mho.DAC` of mode ``"pulse_width"``).

    An input of the level ``n`` of ``N`` holds its word line at ``±v_max`` for ``t_pulse · |n|/N``;
    all pulses of a read start together. A bit line's current is integrated, and its charge
    converted. Charges are told as the constant current that would bring them within ``t_pulse``

        i = Q / t_pulse

    so that ranges of converters, amplifiers and calibration stay in amperes.

    Sources: split pulses, idle rails and what wires do while pulses end: the time-resolved tile of
    AIHWKit (Rasch et al. 2021, doi 10.1109/AICAS51828.2021.9458494; arXiv 2506.00004); phases for
    both signs: Le Gallo et al. 2023, doi 10.1038/s41928-023-01010-1.

    Attributes:
        t_pulse: the longest pulse (s), > 0.
        signs: ``"bipolar"`` (a negative input is a pulse of ``-v_max``) or ``"two_phase"``
            (positive inputs first, then negative ones, both at ``v_max``; the results are
            subtracted: digitally, or before the converter with ``converts_once`` of the DAC).
        split: bits of each of several shorter pulses that an input is sent in, the least
            significant first: (3, 4) sends the low three bits of seven, then the high four, whose
            result counts 8 times; (1, 1, …) is bit by bit. They add up to the bits of the input's
            magnitude. () is one whole pulse. The longest of them takes ``t_pulse``.
        idle: what a line does whose pulse is over: ``"driven"`` (held at ``v_idle``) or
            ``"floating"`` (cut off: it takes the voltage that the array gives it; training reads
            take it for driven).
        v_idle: voltage of lines that rest (V), from the virtual grounds of the bit lines.
        jitter: standard deviation of a pulse's length (s), >= 0; drawn for every pulse by itself.
            One driver feeds a word line of all tiles side by side.
        rise: time in which a line goes from 0 to ``v_max``, linearly (s), >= 0. A pulse shorter
            than that does not get there.
        fall: time in which it goes back (s), likewise. The charge of edges is integrated too.
        full_charge: charge (C) at which the integrator of a bit line is full, > 0: what is beyond
            is lost. None for no limit. It looks at the charge of a whole drive.

    Raises:
        ValueError: if a value is outside its range, or floating lines are given what is of driven
            ones.
    """

    t_pulse: float = 100e-9
    signs: str = "bipolar"
    split: tuple[int, ...] = ()
    idle: str = "driven"
    v_idle: float = 0.0
    jitter: float = 0.0
    rise: float = 0.0
    fall: float = 0.0
    full_charge: float | None = None

    def __post_init__(self) -> None:
        checks.circuit("PulseWidth t_pulse", self.t_pulse, "s", above=0.0)
        checks.one_of("PulseWidth signs", self.signs, SIGNS)
        checks.one_of("PulseWidth idle", self.idle, IDLE)
        checks.number("PulseWidth v_idle", self.v_idle)
        for name in ("jitter", "rise", "fall"):
            checks.circuit(f"PulseWidth {name}", getattr(self, name), "s", least=0.0)
        if self.full_charge is not None:
            checks.circuit("PulseWidth full_charge", self.full_charge, "C", above=0.0)
        split: Any = self.split
        checks.instance("PulseWidth split", split, (tuple, list))
        object.__setattr__(self, "split", tuple(split))
        for k, bits in enumerate(self.split):
            checks.integer(f"PulseWidth split[{k}]", bits, most=24)
        held = {name: getattr(self, name) for name in ("v_idle", "rise", "fall")}
        given = {name: value for name, value in held.items() if value}
        if self.idle == "floating" and given:
            name, value = next(iter(given.items()))
            raise ValueError(
                f"PulseWidth {name} is of lines that are driven to rest, got {value!r} with "
                "idle='floating'"
            )
        if self.v_idle and (self.rise or self.fall):
            raise ValueError(
                "PulseWidth rise and fall are of lines that rest at 0 V, got "
                f"v_idle={self.v_idle!r}"
            )
        if self.v_idle and len(set(self.split)) > 1:
            raise ValueError(
                f"PulseWidth v_idle needs pulses of one length, got split={self.split!r} with "
                f"v_idle={self.v_idle!r}"
            )

    @property
    def exact(self) -> bool:
        """Whether a line's voltage, averaged over a drive, is in proportion to its level."""
        return not (self.v_idle or self.jitter or self.rise or self.fall)

    @property
    def without_noise(self) -> PulseWidth:
        """The same pulses, each as long as it is meant to be."""
        return self.replace(jitter=0.0)

    def full_current(self) -> float | None:
        """Return the current (A) that fills an integrator within ``t_pulse``; None for no limit."""
        return None if self.full_charge is None else self.full_charge / self.t_pulse
