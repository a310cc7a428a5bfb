"""How a chip sends a vector into its arrays: what is used how often, and for how long."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

from mho.core import checks
from mho.core.spec import Spec


@dataclass(frozen=True)
class Sent:
    """What a vector is to a tile.

    Attributes:
        input_bits: of the drivers; None: ideal ones.
        output_bits: of the converters; None: there are none.
        planes: how often the lines are driven for one vector.
        conversions: of one output of a tile for one vector.
        pulse: the longest pulse of pulse-width drivers (s); None for others.
        pulses: how long all pulses of one vector may last (s); None for others.
        conversion_time: of one conversion (s), where the hardware's converters know it.
        pulse_bits: of each of several pulses that one vector is sent in; None for others.
    """

    input_bits: int | None
    output_bits: int | None
    planes: int = 1
    conversions: int = 1
    pulse: float | None = None
    pulses: float | None = None
    conversion_time: float | None = None
    pulse_bits: int | None = None

    @property
    def driver_bits(self) -> int | None:
        """Bits that a driver puts on a line at once: one where planes of bits follow each other."""
        if self.pulse_bits is not None:
            return self.pulse_bits
        return 1 if self.planes > 1 else self.input_bits


@dataclass(frozen=True)
class Slots:
    """What one vector takes of one tile.

    Attributes:
        drives: how often a word line is driven.
        phases: how often all bit lines are read.
        samples: taken of a bit line.
        pulses: integrated of a bit line.
        steps: of a converter that works step by step, for one bit line.
        conversions: of one bit line.
        window: for how long the lines are driven at the voltages of one drive (s).
        driven: time for which the array is busy (s).
        waited: time that converting takes beyond it (s); None where each conversion takes what
            the converter says, bit lines of one converter one after the other.
    """

    drives: float
    phases: float
    samples: float
    pulses: float
    steps: float
    conversions: float
    window: float
    driven: float
    waited: float | None


class Timing(Spec):
    """Base: how long a vector takes one tile, and what it uses. Give `slots` and `duty`."""

    duty: bool = False
    """Whether an input is how long a line is driven at full voltage, and not how high."""

    shares: bool = False
    """Whether a converter may take several bit lines, one after the other, at its own rate."""

    @abstractmethod
    def slots(self, sent: Sent) -> Slots:
        """Return what one vector takes.

        Raises:
            ValueError: for bits that this timing cannot send.
        """


@dataclass(frozen=True)
class Levels(Timing):
    """Voltages that stand on the lines for a time, then conversions by the converters' own time.

    One drive a vector, or one for every bit plane of bit-serial drivers. The hardware's pulse-width
    drivers say themselves for how long lines are driven.

    Attributes:
        read_time: for which the lines are driven (s), > 0.
        bit_serial: whether drivers put one bit on a line at a time, and nothing else can be sent.
    """

    read_time: float = 10e-9
    bit_serial: bool = False

    shares = True

    def __post_init__(self) -> None:
        checks.circuit("read_time", self.read_time, "s", above=0.0)

    def slots(self, sent: Sent) -> Slots:
        """Return what one vector takes."""
        if self.bit_serial and sent.planes < _bits(sent.input_bits, "bits") - 1:
            raise ValueError(
                f"this architecture sends inputs bit by bit, the hardware's DAC {sent.input_bits} "
                f"bits in {sent.planes} drive(s): use mode 'bit_serial'"
            )
        n = float(sent.planes)
        return Slots(
            drives=n,
            phases=n,
            samples=n,
            pulses=n,
            steps=float(sent.conversions * (sent.output_bits or 0)),
            conversions=float(sent.conversions),
            window=self.read_time if sent.pulse is None else sent.pulse,
            driven=n * self.read_time if sent.pulses is None else sent.pulses,
            waited=None,
        )


@dataclass(frozen=True)
class PulseWidths(Timing):
    """Inputs as pulse widths, with converters that integrate (oscillators) while pulses last.

        t = phases · (2^(bits - 1) · cycle + overhead)

    with the sign beside ``bits - 1`` bits of magnitude. In several phases input signs and weight
    signs are read separately: each cell still conducts once.

    Attributes:
        cycle: the least pulse (s), > 0.
        phases: reads of the array for one vector, >= 1.
        overhead: of each phase (s).
    """

    cycle: float = 1e-9
    phases: int = 1
    overhead: float = 0.0

    duty = True

    def __post_init__(self) -> None:
        checks.circuit("cycle", self.cycle, "s", above=0.0)
        checks.integer("phases", self.phases)
        checks.circuit("overhead", self.overhead, "s", least=0.0)

    def slots(self, sent: Sent) -> Slots:
        """Return what one vector takes."""
        bits = _bits(sent.input_bits, "pulse widths")
        if sent.planes != 1:
            raise ValueError(
                f"this architecture sends inputs as one pulse width, the hardware's DAC in "
                f"{sent.planes} drives: use mode 'pulse_width' (without split), or 'amplitude'"
            )
        n, window = float(self.phases), 2.0 ** max(bits - 1, 0) * self.cycle
        return Slots(
            drives=1.0,
            phases=n,
            samples=n,
            pulses=n,
            steps=n * (sent.output_bits or 0),
            conversions=n,
            window=window,
            driven=n * (window + self.overhead),
            waited=0.0,
        )


@dataclass(frozen=True)
class ChargeSteps(Timing):
    """Bits as numbers of integrations, then conversion by taking charge away step by step.

    Of ``in`` bits m = max(1, in - 1) are magnitude; more than three go in two phases, the ⌈m/2⌉
    upper and the ⌊m/2⌋ lower ones. In a phase of p bits the lines are sampled p times and 2^p - 1
    charges integrated; then the converter decrements: ``out`` steps in the first phase, less by
    the bits that are done in the second. With P phases of p bits, S steps in all:

        t = pulse · Σ (2^p - 1) + step · (S + P)

    Source: W. Wan et al., Nature 608, 504 (2022), doi 10.1038/s41586-022-04992-8, Extended Data
    Fig. 4 (the scheme); the sum is fitted to its measured throughput.

    Attributes:
        pulse: time of one integration (s), > 0.
        step: time of one step of conversion (s), > 0.
    """

    pulse: float = 0.27e-6
    step: float = 0.30e-6

    def __post_init__(self) -> None:
        checks.circuit("pulse", self.pulse, "s", above=0.0)
        checks.circuit("step", self.step, "s", above=0.0)

    def slots(self, sent: Sent) -> Slots:
        """Return what one vector takes."""
        magnitude = max(_bits(sent.input_bits, "bits one after the other") - 1, 1)
        out = _bits(sent.output_bits, "outputs of some bits", "ADC")
        phases = (math.ceil(magnitude / 2), magnitude // 2) if magnitude > 3 else (magnitude,)
        pulses = float(sum(2**p - 1 for p in phases))
        done = (0, *phases[:-1])
        steps = float(sum(max(out - d, 1) for d in done))
        n = float(len(phases))
        return Slots(
            drives=float(magnitude),
            phases=n,
            samples=float(magnitude),
            pulses=pulses,
            steps=steps,
            conversions=n,
            window=self.pulse,
            driven=self.pulse * pulses,
            waited=self.step * (steps + n),
        )


def _bits(bits: int | None, what: str, part: str = "DAC") -> int:
    if bits is None:
        raise ValueError(
            f"this architecture works with {what}: the hardware needs bits of its {part}"
        )
    return bits
