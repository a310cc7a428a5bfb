"""What the circuits around the cells cost: the numbers behind `mho.analysis.cost`."""

from __future__ import annotations

from dataclasses import dataclass

from mho.analysis.components.survey import SURVEY, SURVEYED, adc_energy
from mho.core import checks
from mho.core.spec import Spec
from mho.core.text import quantity


@dataclass(frozen=True)
class Technology(Spec):
    """Circuits around the cells. What is None is not counted, and said not to be.

    The defaults of times and of sharing are assumptions, not anyone's measurement; they are printed
    with every result.

    Attributes:
        read_time: how long the lines are driven for one read, or one bit plane (s), > 0.
        conversion_rate: of one ADC (1/s), > 0.
        columns_per_adc: bit lines that share one ADC, one after the other, >= 1.
        adc_energy: of one conversion (J), a range ``(low, high)`` or one number; None takes the
            survey's figures for the hardware's bits (`mho.analysis.adc_energy`).
        dac_energy: of one word-line drive (J), a range or one number; or None.
        line_capacitance: of a word line per cell (F); charged to V at every drive; or None.
        feature_size: F (m), for the area of cells; or None.
        cell_factor: area of a cell in F², > 0: 4 for a bare crossing, more with a transistor.
        adc_area: of one ADC (m²); or None.
        dac_area: of one word-line driver (m²); or None.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    read_time: float = 10e-9
    conversion_rate: float = 1e8
    columns_per_adc: int = 8
    adc_energy: float | tuple[float, float] | None = None
    dac_energy: float | tuple[float, float] | None = None
    line_capacitance: float | None = None
    feature_size: float | None = None
    cell_factor: float = 4.0
    adc_area: float | None = None
    dac_area: float | None = None

    def __post_init__(self) -> None:
        checks.number("read_time", self.read_time, above=0.0)
        checks.number("conversion_rate", self.conversion_rate, above=0.0)
        checks.integer("columns_per_adc", self.columns_per_adc)
        checks.number("cell_factor", self.cell_factor, above=0.0)
        for name in ("adc_energy", "dac_energy"):
            value = getattr(self, name)
            if isinstance(value, (tuple, list)):
                object.__setattr__(self, name, tuple(value))
                if len(value) != 2:
                    raise ValueError(f"{name} must be one number or (low, high), got {value!r}")
                checks.number(f"low of {name}", value[0], least=0.0)
                checks.number(f"high of {name}", value[1], least=value[0])
            elif value is not None:
                checks.number(name, value, least=0.0)
        for name in ("line_capacitance", "feature_size", "adc_area", "dac_area"):
            if getattr(self, name) is not None:
                checks.number(name, getattr(self, name), least=0.0)

    def conversion(self, bits: int) -> tuple[float, float]:
        """Energy of one conversion (J), low and high."""
        return adc_energy(bits) if self.adc_energy is None else _range(self.adc_energy)

    @property
    def drive(self) -> tuple[float, float]:
        """Energy of one word-line drive (J), low and high; 0 where it is not counted."""
        return (0.0, 0.0) if self.dac_energy is None else _range(self.dac_energy)

    def assumptions(self, bits: list[int]) -> tuple[str, ...]:
        """Say what is assumed.

        Args:
            bits: of all ADCs.
        """
        lines = [
            f"lines driven for {quantity(self.read_time, 's')} a read or bit plane (assumed)",
            f"ADCs of {self.conversion_rate:,.0f} conversions/s, each shared by "
            f"{self.columns_per_adc} bit lines (assumed)",
            "tiles work at the same time, layers and the reads of one layer one after the other",
        ]
        if self.adc_energy is None and bits:
            lines.append(
                f"energy of a conversion, low (10th percentile) to high (median): {SURVEY}"
            )
            beyond = [str(b) for b in bits if b not in SURVEYED]
            if beyond:
                lines.append(
                    f"{', '.join(beyond)} bits: the survey's nearest figure, twice as much a bit"
                )
        given = ("adc_energy", "dac_energy", "line_capacitance", "adc_area", "dac_area")
        lines += [
            f"{n} = {getattr(self, n)} (given)" for n in given if getattr(self, n) is not None
        ]
        if self.feature_size is not None:
            lines.append(
                f"cells of {self.cell_factor:g} F², F = {quantity(self.feature_size, 'm')} (given)"
            )
        return tuple(lines)

    @property
    def excluded(self) -> tuple[str, ...]:
        """What is not counted."""
        names = {
            "dac_energy": "energy of the word-line drivers",
            "line_capacitance": "charging of the lines",
            "feature_size": "area of the cells",
            "adc_area": "area of the ADCs",
            "dac_area": "area of the drivers",
        }
        left_out = [text for name, text in names.items() if getattr(self, name) is None]
        always = "digital sums, activations, buffers, interconnect, control, leakage, programming"
        return (*left_out, always)


def _range(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)
