"""Analog-to-digital converters. One use is one conversion unless it says otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mho.analysis.components.base import Component, Estimate, between
from mho.analysis.components.scaling import check_node
from mho.analysis.components.survey import SURVEY, SURVEYED, adc_energy
from mho.core import checks

_DYNAMIC = 0.8  # share of the energy that is drawn by converting; the rest leaks


@dataclass(frozen=True)
class RegressionADC(Component):
    """Whatever converter is best for its bits, rate and node: a regression over published ones.

    With f the rate (Hz), t the node (nm) and b the effective bits:

        F = min(213.7807 − 2.871903 ln f, 128.3068 + 3.220512 b)                      (dB)
        E = ½ · 10^((6.0206 b + 1.7609 − F)/10)
              · exp(26.04962 + 1.880037 ln t − 2.829126 ln b − 1.470202)               (pJ)
        A = exp(1.346192 + .9932795 ln t + .1807154 ln f + .2991243 ln E)             (µm²)

    Between whole bits the published model takes ⌈b⌉ in F, by which 8.1 bits would cost half of 8;
    here it is b, the same at whole bits. 80 % of E is told as ``energy``; the other 20 % is
    ``leakage`` at that rate, drawn for as long as the converter is powered.

    The regression is drawn through good designs (about the best fifth). The range of the energy
    covers the survey's 10th percentile and median for these bits (or the nearest of 6 to 9), as
    they lie around the regression at 65 nm and 100 MS/s: the survey is of nodes up to 65 nm.

    Source: T. Andrulis, R. Chen, H.-S. Lee, J. S. Emer, V. Sze, "Modeling analog-digital-converter
    energy and area for compute-in-memory accelerator design", arXiv 2404.06553 (2024); constants
    from its public model. Range: B. Murmann, "ADC Performance Survey 1997–2025".

    Attributes:
        bits: effective number of bits (ENOB; not the width of the code), 4 to 14.
        rate: conversions per second, up to 10 GHz.
        node: technology node (m), 7 to 180 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: float = 8.0
    rate: float = 1e8
    node: float = 32e-9

    source = "Andrulis et al. 2024, arXiv 2404.06553; range: Murmann's survey 1997–2025"
    conditions = "best designs of a survey; 80 % dynamic, 20 % leakage; checked from 14 to 130 nm"
    use = "one conversion"

    def __post_init__(self) -> None:
        between(self, "bits", 4.0, 14.0, "bits")
        checks.number("rate of RegressionADC", self.rate, above=0.0)
        between(self, "rate", 0.0, 1e10, "1/s")
        check_node("node of RegressionADC", self.node, 7e-9, 180e-9)

    @property
    def energy(self) -> Estimate:
        """Dynamic energy of one conversion (J)."""
        return self._spread * (_DYNAMIC * self._energy)

    @property
    def latency(self) -> Estimate:
        """One period of the rate (s)."""
        return Estimate.exact(1.0 / self.rate)

    @property
    def area(self) -> Estimate:
        """Of the regression's converter (m²)."""
        exponent = 1.346192 + 0.9932795 * math.log(self.node * 1e9)
        exponent += 0.1807154 * math.log(self.rate) + 0.2991243 * math.log(self._energy * 1e12)
        return Estimate.exact(1e-12 * math.exp(exponent))

    @property
    def leakage(self) -> Estimate:
        """20 % of the power at the rate (W)."""
        return self._spread * ((1.0 - _DYNAMIC) * self._energy * self.rate)

    @property
    def _energy(self) -> float:
        return _regressed(self.bits, self.rate, self.node)

    @property
    def _spread(self) -> Estimate:
        bits = min(max(self.bits, min(SURVEYED)), max(SURVEYED))
        below, above = _around(math.floor(bits)), _around(math.ceil(bits))
        share = bits - math.floor(bits)
        ratios = ((1.0 - share) * x + share * y for x, y in zip(below, above, strict=True))
        return Estimate.covering(1.0, *ratios)


def _around(bits: int) -> tuple[float, float]:
    """The survey's percentiles over the regression at 65 nm and 100 MS/s."""
    low, median = adc_energy(bits)
    reference = _regressed(bits, 1e8, 65e-9)
    return low / reference, median / reference


def _regressed(bits: float, rate: float, node: float) -> float:
    merit = min(213.7807 - 2.871903 * math.log(rate), 128.3068 + 3.220512 * bits)
    picojoules = 0.5 * 10.0 ** ((6.0206 * bits + 1.7609 - merit) / 10.0)
    exponent = 26.04962 + 1.880037 * math.log(node * 1e9) - 2.829126 * math.log(bits) - 1.470202
    return 1e-12 * picojoules * math.exp(exponent)


@dataclass(frozen=True)
class SurveyADC(Component):
    """Published converters of up to 65 nm and 10 MHz to 2 GHz.

    The energy ranges from their 10th percentile to the median, which is typical. Area and leakage
    are not in the survey's figures. 6 to 9 bits are; others double or halve with every bit
    (`adc_energy`).

    Source: B. Murmann, "ADC Performance Survey 1997–2025".

    Attributes:
        bits: resolution, 1 to 16.
        rate: conversions per second, 10 MHz to 2 GHz.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 8
    rate: float = 1e8

    source = SURVEY
    conditions = "energies from the 10th percentile to the median; nothing scaled to a node"
    use = "one conversion"
    leakage_in_energy = True

    def __post_init__(self) -> None:
        checks.integer("bits of SurveyADC", self.bits, most=16)
        between(self, "rate", 1e7, 2e9, "1/s")

    @property
    def energy(self) -> Estimate:
        """From the 10th percentile to the median, all of it (J)."""
        low, median = adc_energy(self.bits)
        return Estimate(low, median, median)

    @property
    def latency(self) -> Estimate:
        """One period of the rate (s)."""
        return Estimate.exact(1.0 / self.rate)


# Energy (pJ) and area (µm²) by bits.
_ISAAC = {
    4: (0.79, 361.04),
    5: (0.99, 476.91),
    6: (1.20, 626.91),
    7: (1.42, 845.18),
    8: (1.67, 1200.0),
    9: (1.969078145, 1827.911647),
    10: (2.379022742, 3002.008032),
}


@dataclass(frozen=True)
class IsaacADC(Component):
    """SAR converter of ISAAC: 16 mW for eight at 1.2 GS/s and 8 bits; others scaled from these.

    Source: A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12, on the converter of
    L. Kull et al., ISSCC 2013, doi 10.1109/ISSCC.2013.6487818; other bits by M. Saberi et al.
    2011, as in Accelergy's library.

    Attributes:
        bits: resolution, 4 to 10.
        rate: conversions per second, up to 1.28 GHz (128 columns in 100 ns). The power is that at
            1.2 GHz, all of it charged to conversions: leakage by itself is not known.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 8
    rate: float = 1.28e9

    node = 32e-9
    source = "Shafiee et al. (ISAAC) 2016, doi 10.1109/ISCA.2016.12"
    conditions = "32 nm design; power/rate, leakage included in the energy"
    use = "one conversion"
    leakage_in_energy = True

    def __post_init__(self) -> None:
        checks.integer("bits of IsaacADC", self.bits, least=4, most=10)
        checks.number("rate of IsaacADC", self.rate, above=0.0)
        between(self, "rate", 0.0, 1.28e9, "1/s")

    @property
    def energy(self) -> Estimate:
        """Of one conversion, leakage included (J)."""
        return Estimate.exact(1e-12 * _ISAAC[self.bits][0])

    @property
    def latency(self) -> Estimate:
        """One period of the rate (s)."""
        return Estimate.exact(1.0 / self.rate)

    @property
    def area(self) -> Estimate:
        """Of one converter (m²)."""
        return Estimate.exact(1e-12 * _ISAAC[self.bits][1])


@dataclass(frozen=True)
class ZigZagADC(Component):
    """SAR converter at the columns of an SRAM array: a fit to published 28 nm macros.

        E = (100 fF · b + 1 aF · 4^b) V²,   A = 10^(1.206 − .0369 b) 2^b µm²,
        t = b (.00653 · rows + .640) ns

    Source: ZigZag-IMC (github.com/KULeuven-MICAS/zigzag-imc), ``AimcArrayUnit.py``.

    Attributes:
        bits: resolution, 1 to 12.
        rows: cells on a bit line, >= 1.
        voltage: supply (V), 0.5 to 1.2.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 8
    rows: int = 256
    voltage: float = 0.9

    node = 28e-9
    source = "ZigZag-IMC, AimcArrayUnit.py"
    conditions = "fit to 28 nm SRAM macros"
    use = "one conversion"

    def __post_init__(self) -> None:
        checks.integer("bits of ZigZagADC", self.bits, most=12)
        checks.integer("rows of ZigZagADC", self.rows)
        between(self, "voltage", 0.5, 1.2, "V")

    @property
    def energy(self) -> Estimate:
        """Charge of the capacitors (J)."""
        capacitance = 100e-15 * self.bits + 1e-18 * 4.0**self.bits
        return Estimate.exact(capacitance * self.voltage**2)

    @property
    def latency(self) -> Estimate:
        """Of one conversion, growing with the bit line (s)."""
        return Estimate.exact(1e-9 * self.bits * (0.00653 * self.rows + 0.640))

    @property
    def area(self) -> Estimate | None:
        """Of one converter (m²); a comparator alone (1 bit) is neglected there, so not known."""
        if self.bits == 1:
            return None
        area = 10.0 ** (1.206 - 0.0369 * self.bits) * 2.0**self.bits
        return Estimate.exact(1e-12 * area)


# p, q (µW), r (W), s by node (nm): transistors for high performance, and for low power.
_NEUROSIM = {
    130: ((6.4806, 49.047, 0.207452, 2.367), (8.4483, 65.243, 0.169380, 2.303)),
    90: ((4.3474, 31.782, 0.164900, 2.345), (5.9869, 37.462, 0.144323, 2.303)),
    65: ((2.9503, 22.047, 0.128483, 2.321), (3.7506, 25.844, 0.121272, 2.303)),
    45: ((2.1843, 11.931, 0.097754, 2.296), (2.1691, 16.693, 0.100225, 2.303)),
    32: ((1.0157, 7.6286, 0.083709, 2.313), (1.1294, 8.8998, 0.079449, 2.297)),
    22: ((0.7213, 3.3041, 0.084273, 2.311), (0.538, 4.3753, 0.072341, 2.303)),
    14: ((0.4710, 1.9529, 0.060584, 2.311), (0.3132, 2.5681, 0.061085, 2.303)),
    10: ((0.3076, 1.1543, 0.049418, 2.311), (0.1823, 1.5073, 0.051580, 2.303)),
    7: ((0.2008, 0.6823, 0.040310, 2.311), (0.1061, 0.8847, 0.043555, 2.303)),
}


@dataclass(frozen=True)
class NeuroSimADC(Component):
    """SAR converter of NeuroSim, fitted to its authors' circuit simulations at 300 K.

        P = (p b + q) µW + r exp(−s log₁₀(R · 0.5 V/V)),   E = P (b + 1) ns

    with R the resistance of the column and V its read voltage. Typical are transistors for high
    performance; the range covers those for low power. The calibration to a 40 nm macro
    (`NEUROSIM_CALIBRATION`) is not applied.

    Source: DNN+NeuroSim V1.3 (github.com/neurosim/DNN_NeuroSim_V1.3), ``SarADC.cpp``.

    Attributes:
        bits: resolution, 1 to 12.
        resistance: of the column, all its cells in parallel (Ω), > 0.
        voltage: at which it is read (V), > 0.
        node: 130, 90, 65, 45, 32, 22, 14, 10 or 7 nm (m).

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 5
    resistance: float = 1e4
    voltage: float = 0.5
    node: float = 22e-9

    source = "DNN+NeuroSim V1.3, SarADC.cpp"
    conditions = "fit to circuit simulations at 300 K; not calibrated to a layout"
    use = "one conversion"
    leakage_in_energy = True

    def __post_init__(self) -> None:
        checks.integer("bits of NeuroSimADC", self.bits, most=12)
        checks.number("resistance of NeuroSimADC", self.resistance, above=0.0)
        checks.number("voltage of NeuroSimADC", self.voltage, above=0.0)
        checks.number("node of NeuroSimADC", self.node)
        checks.one_of("node of NeuroSimADC (nm)", _nanometres(self.node), _NEUROSIM)

    @property
    def energy(self) -> Estimate:
        """Power for as long as it converts (J)."""
        decades = math.log10(self.resistance * 0.5 / self.voltage)
        powers = [
            1e-6 * (p * self.bits + q) + r * math.exp(-s * decades)
            for p, q, r, s in _NEUROSIM[int(_nanometres(self.node))]
        ]
        return self.latency * Estimate.covering(*powers)

    @property
    def latency(self) -> Estimate:
        """A nanosecond a bit, and one to begin (s)."""
        return Estimate.exact(1e-9 * (self.bits + 1))


def _nanometres(node: float) -> float:
    return round(node * 1e9, 3)


# Factors by which NeuroSim's estimates were made to meet a 40 nm RRAM macro's layout within 1 %:
# area of level shifters, latency of sensing, switching activities of flip-flops, adders and
# control, and energy. Front. Artif. Intell. 2021, doi 10.3389/frai.2021.659060, and Param.cpp.
# Nothing here applies them: they are of that macro.
NEUROSIM_CALIBRATION: Mapping[str, float] = MappingProxyType(
    {
        "level_shifter_area": 1.44,
        "sensing_latency": 1.4,
        "flip_flop_activity": 0.5,
        "adder_activity": 0.15,
        "control_activity": 0.05,
        "energy": 1.22,
    }
)


@dataclass(frozen=True)
class HermesADC(Component):
    """Converter of IBM's Hermes core: a current-controlled oscillator and a counter a column.

    A count takes 300 ps, so a conversion 300 ps · 2^b. Its energy and area by itself were not
    published: only the whole core's (10.5 TOPS/W, 1.59 TOPS/mm²); its pitch is 4 µm.

    Source: R. Khaddam-Aljameh et al., "HERMES-Core: a 1.59-TOPS/mm² PCM on 14-nm CMOS in-memory
    compute core using 300-ps/LSB linearized CCO-based ADCs", IEEE JSSC 57, 2022.

    Attributes:
        bits: resolution, 1 to 12.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 8

    node = 14e-9
    pitch = 4e-6
    source = "Khaddam-Aljameh et al. (HERMES-Core), JSSC 2022"
    conditions = "14 nm, measured; oscillator above 3 GHz"
    use = "one conversion"

    def __post_init__(self) -> None:
        checks.integer("bits of HermesADC", self.bits, most=12)

    @property
    def latency(self) -> Estimate:
        """As long as the counter counts (s)."""
        return Estimate.exact(300e-12 * 2.0**self.bits)
