"""Accelerators: whole machines in a few numbers, that give their `Hardware` and their `Chip`.

An accelerator is a spec, so a user's own needs no registration: a subclass that is imported is
known by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch.distributions import Uniform

from mho.cells.spread import Spread
from mho.chip.chip import Chip
from mho.core import checks
from mho.core.spec import Spec
from mho.devices.linear import LinearDevice
from mho.effects import ReadNoise, StuckAt, WriteNoise
from mho.effects.base import Effect
from mho.encoding.base import Encoding
from mho.encoding.differential import Differential
from mho.hardware import Array, Hardware
from mho.periphery.adc import ADC
from mho.periphery.dac import DAC

STUCK_MODES = ("both", "low", "high", "random")
NOISES = ("gaussian", "uniform")
A = TypeVar("A", bound="Daffodil")
INPUTS = ("instantaneous", "bit_serial")


class Accelerator(Spec):
    """Base of all accelerators: subclass it as a frozen dataclass and define `hardware`."""

    rows: int
    cols: int

    def hardware(self, encoding: Encoding | None = None) -> Hardware:
        """Return what its crossbars are made of.

        Args:
            encoding: how weights become conductances; differential pairs if not given.
        """
        raise NotImplementedError(f"{type(self).__name__} must define hardware(…)")

    def chip(self, *, seed: int = 0, **options: Any) -> Chip:
        """Return one such chip.

        Args:
            seed: of its fabrication.
            options: further arguments of `Chip`.
        """
        return Chip(self.rows, self.cols, self.hardware(), seed=seed, **options)


@dataclass(frozen=True)
class FixedPointAccelerator(Accelerator):
    """A generic accelerator with uniform converters.

    Attributes:
        g_min: lowest conductance (S), >= 0.
        g_max: highest conductance (S), > g_min.
        v_read: voltage of a full-scale input (V), > 0.
        dac_bits: of the drivers; None for ideal ones (not with bit-serial inputs).
        adc_bits: of the converters; None for ideal ones.
        read_noise: of a cell's conductance at every read (S), >= 0; see ``read_noise_kind``.
        read_noise_kind: ``"gaussian"`` (``read_noise`` is its standard deviation) or
            ``"uniform"`` (it is the half-width). A bit line adds up many cells, so that both are
            drawn as the Gaussian of the right variance at its end.
        write_noise: standard deviation of programming (S), >= 0.
        stuck: fraction of cells that are broken, in [0, 1].
        stuck_mode: ``"low"``, ``"high"``, ``"both"`` (half of them each), or ``"random"``
            (anywhere in the window, with equal chances).
        g_stuck_low: what cells stuck low read (S); None for ``g_min``.
        g_stuck_high: what cells stuck high read (S); None for ``g_max``.
        inputs: ``"instantaneous"`` (each input an amplitude) or ``"bit_serial"``.
        retention: what time does to the cells; None for nothing.
        rows: word lines of the chip, >= 1.
        cols: bit lines of the chip, >= 1.
        tile: word lines and bit lines of the array behind one set of converters.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    g_min: float = 1e-6
    g_max: float = 100e-6
    v_read: float = 0.3
    dac_bits: int | None = 8
    adc_bits: int | None = 8
    read_noise: float = 0.0
    read_noise_kind: str = "gaussian"
    write_noise: float = 0.0
    stuck: float = 0.0
    stuck_mode: str = "both"
    g_stuck_low: float | None = None
    g_stuck_high: float | None = None
    inputs: str = "instantaneous"
    retention: Effect | None = None
    rows: int = 2500
    cols: int = 2500
    tile: tuple[int, int] = (128, 128)

    def __post_init__(self) -> None:
        name = type(self).__name__
        checks.number(f"{name} g_min", self.g_min, least=0.0)
        checks.number(f"{name} g_max", self.g_max, above=self.g_min)
        checks.number(f"{name} read_noise", self.read_noise, least=0.0)
        checks.number(f"{name} write_noise", self.write_noise, least=0.0)
        checks.probability(f"{name} stuck", self.stuck)
        checks.one_of(f"{name} read_noise_kind", self.read_noise_kind, NOISES)
        checks.one_of(f"{name} stuck_mode", self.stuck_mode, STUCK_MODES)
        checks.one_of(f"{name} inputs", self.inputs, INPUTS)
        checks.integer(f"{name} rows", self.rows)
        checks.integer(f"{name} cols", self.cols)
        checks.instance(f"{name} tile", self.tile, (tuple, list))
        object.__setattr__(self, "tile", tuple(self.tile))
        if self.retention is not None:
            checks.instance(f"{name} retention", self.retention, Effect)
        self.hardware()  # its parts check the rest

    def hardware(self, encoding: Encoding | None = None) -> Hardware:
        """See `Accelerator.hardware`."""
        return Hardware(
            device=LinearDevice(g_min=self.g_min, g_max=self.g_max),
            encoding=Differential() if encoding is None else encoding,
            array=Array(*self.tile),
            dac=self._dac(),
            adc=self._adc(),
            effects=self._effects(),
        )

    def _dac(self) -> DAC:
        mode = "amplitude" if self.inputs == "instantaneous" else "bit_serial"
        return DAC(bits=self.dac_bits, v_max=self.v_read, mode=mode)

    def _adc(self) -> ADC | None:
        return None if self.adc_bits is None else ADC(bits=self.adc_bits)

    def _effects(self) -> tuple[Effect, ...]:
        span = self.g_max - self.g_min
        effects: list[Effect] = []
        if self.stuck:
            effects.append(self._faults())
        if self.write_noise:
            effects.append(WriteNoise(sigma=self.write_noise / span))
        if self.retention is not None:
            effects.append(self.retention)
        if self.read_noise:
            narrow = math.sqrt(3.0) if self.read_noise_kind == "uniform" else 1.0
            effects.append(ReadNoise(sigma=self.read_noise / narrow / span))
        return tuple(effects)

    def _faults(self) -> StuckAt:
        if self.stuck_mode == "random":
            # torch insists on tensors of one kind, the spec keeps plain numbers.
            anywhere = Spread(Uniform(*torch.tensor([self.g_min, self.g_max], dtype=torch.float64)))
            return StuckAt(low=self.stuck, g_low=anywhere)
        low = {"low": 1.0, "high": 0.0, "both": 0.5}[self.stuck_mode] * self.stuck
        return StuckAt(
            low=low, high=self.stuck - low, g_low=self.g_stuck_low, g_high=self.g_stuck_high
        )


@dataclass(frozen=True)
class Daffodil(FixedPointAccelerator):
    """The Daffodil prototyping board (NIST, George Washington University, Western Digital).

    About 20 000 ReRAM cells in 32 kernels of 25 × 25, taken here as one field of 4 × 8 kernels:
    a matrix wider than a kernel spans several, converted one by one and added digitally. So are
    the positive and the negative cells of a weight, which lie in kernels of their own: weights are
    differential pairs subtracted digitally, unless another encoding is given.

    *Drivers*: AD5391-5, 12 bits over 5 V, so one step is 1.22 mV and an input of ±``v_read`` has
    only ``2 v_read / step`` of them; ``dac_bits`` follows from that, and is not given. *Sensing*:
    every line has a transimpedance stage of ``r_feedback`` whose output rests at ``v_rest`` and
    falls with the current, then a 12-bit converter (ADS7950) from 0 V to ``v_adc``: of positive
    currents it sees up to ``v_rest / r_feedback``, of negative ones down to
    ``-(v_adc - v_rest) / r_feedback``, in steps of ``v_adc / 2^12 / r_feedback``.

    Parts, counts and the circuit's defaults are those of the board's description and of its public
    library; noise is that of the published maps (spread of programmed states 8–11 µS, of repeated
    reads 2 µS); window, read voltage, and cells stuck at 10 and 500 µS are what its published
    simulations use. Assumed are inputs of both signs about a mid-scale reference.

    Attributes:
        r_feedback: of the transimpedance stage, set digitally (Ω), > 0.
        v_adc: span of the converter (V), > 0: 2.5, or 5 at its other input range.
        v_rest: output of the stage without a current (V), between 0 and ``v_adc``.
        dac_step: of the driver (V), > 0.

    Sources: O. Yousuf et al., 2024, arXiv:2404.15621, and the data published with it; the parts'
    data sheets; the board's library (usnistgov/daffodil-lib).
    """

    g_min: float = 50e-6
    g_max: float = 100e-6
    v_read: float = 0.3
    dac_bits: int | None = field(init=False, default=None)
    adc_bits: int | None = 12
    read_noise: float = 2e-6
    write_noise: float = 9e-6
    g_stuck_low: float | None = 10e-6
    g_stuck_high: float | None = 500e-6
    rows: int = 100
    cols: int = 200
    tile: tuple[int, int] = (25, 25)
    r_feedback: float = 1.5e3
    v_adc: float = 2.5
    v_rest: float = 1.7
    dac_step: float = 5.0 / 4096

    def __post_init__(self) -> None:
        for name in ("r_feedback", "v_adc", "dac_step", "v_read"):
            checks.number(f"Daffodil {name}", getattr(self, name), above=0.0)
        checks.number("Daffodil v_rest", self.v_rest, above=0.0)
        if self.v_rest >= self.v_adc:
            raise ValueError(
                f"Daffodil v_rest must be < v_adc = {self.v_adc:g} V, got {self.v_rest!r}"
            )
        steps = 2.0 * self.v_read / self.dac_step
        object.__setattr__(self, "dac_bits", max(round(math.log2(steps + 1.0)), 1))
        super().__post_init__()

    @classmethod
    def from_dict(cls: type[A], data: Mapping[str, Any]) -> A:
        """See `Spec.from_dict`; ``dac_bits``, which older descriptions have, follows from the rest.

        Raises:
            TypeError, ValueError: as `Spec.from_dict`.
        """
        given = dict(data) if isinstance(data, Mapping) else data
        if isinstance(given, dict):
            given.pop("dac_bits", None)
        return super().from_dict(given)

    def hardware(self, encoding: Encoding | None = None) -> Hardware:
        """See `Accelerator.hardware`: pairs are subtracted digitally if no encoding is given."""
        return super().hardware(Differential(subtract="digital") if encoding is None else encoding)

    def _adc(self) -> ADC | None:
        if self.adc_bits is None:
            return None
        return ADC(
            bits=self.adc_bits,
            range=self.v_rest / self.r_feedback,
            rest=1.0 - self.v_rest / self.v_adc,
        )


def accelerators() -> dict[str, type[Accelerator]]:
    """Return all accelerators that are known, by name: those here and all imported subclasses."""

    def below(kind: type[Accelerator]) -> dict[str, type[Accelerator]]:
        found = {child.__name__: child for child in kind.__subclasses__()}
        for child in kind.__subclasses__():
            found |= below(child)
        return found

    return below(Accelerator)


def accelerator(name: str, **parameters: Any) -> Accelerator:
    """Return the accelerator of that name.

    Args:
        name: of its class, for example ``"Daffodil"``.
        parameters: those that are not at their defaults.

    Raises:
        ValueError: if there is none of that name, or a value is refused.
        TypeError: if it has no such parameter.
    """
    known = accelerators()
    checks.one_of("accelerator", name, list(known))
    return known[name](**parameters)
