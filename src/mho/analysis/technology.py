"""The least that can be said of the circuits around the cells: a `Technology`."""

from __future__ import annotations

from dataclasses import dataclass

from mho.analysis.architecture import ChipArchitecture, Part
from mho.analysis.components.base import Component, Estimate
from mho.analysis.components.given import Given
from mho.analysis.components.survey import SURVEY, SURVEYED, adc_energy
from mho.analysis.timing import Levels
from mho.core import checks
from mho.core.spec import Spec
from mho.core.text import quantity


@dataclass(frozen=True)
class Surveyed(Component):
    """A converter of which the survey's energy is known, from the 10th percentile to the median.

    The median is typical; what lies above it is not in the figures at hand.

    Attributes:
        bits: resolution, >= 1.
        size: area (m²); None: not known.
    """

    bits: int = 8
    size: float | None = None

    source = SURVEY

    def __post_init__(self) -> None:
        checks.integer("bits of Surveyed", self.bits)

    @property
    def energy(self) -> Estimate:
        """Of one conversion (J)."""
        low, typical = adc_energy(self.bits)
        return Estimate(low, typical, typical)

    @property
    def area(self) -> Estimate | None:
        """Of one converter (m²)."""
        return None if self.size is None else Estimate.exact(self.size)


@dataclass(frozen=True)
class Technology(Spec):
    """Circuits around the cells in a few numbers. What is None is not counted, and said not to be.

    It is the least `ChipArchitecture`, which `architecture` returns; sums, activations, buffers,
    interconnect, control and leakage are not counted, so that the energy of an inference is not
    known as a whole (see `mho.analysis.Cost`).

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

    def architecture(self) -> ChipArchitecture:
        """Return the architecture that these numbers stand for."""
        drivers = None
        if self.dac_energy is not None or self.dac_area is not None:
            drivers = Given("DAC", energy=self.dac_energy, area=self.dac_area)  # type: ignore[arg-type]
        surveyed = self.adc_energy is None
        if surveyed:
            converter: Component = Surveyed(size=self.adc_area)
        else:
            converter = Given("ADC", energy=self.adc_energy, area=self.adc_area)  # type: ignore[arg-type]
        follows = "output" if surveyed else None
        area = None if self.feature_size is None else self.cell_factor * self.feature_size**2
        return ChipArchitecture(
            name="a technology",
            parts=(
                Part("DAC", ("drivers",), drivers, each="row", use="drive"),
                Part(
                    "ADC", ("converters",), converter, each="converter", use="conversion",
                    follows=follows,
                ),
            ),
            timing=Levels(self.read_time),
            columns_per_converter=self.columns_per_adc,
            conversion_rate=self.conversion_rate,
            cell_area=area,
            line_capacitance=self.line_capacitance,
        )  # fmt: skip

    def assumptions(self, bits: list[int], *, mapped: bool = False) -> tuple[str, ...]:
        """Say what is assumed.

        Args:
            bits: of all ADCs.
            mapped: whether a mapping says where layers lie.
        """
        lines = [
            f"lines driven for {quantity(self.read_time, 's')} a read or bit plane (assumed)",
            f"ADCs of {self.conversion_rate:,.0f} conversions/s, each shared by "
            f"{self.columns_per_adc} bit lines (assumed)",
            "a core takes one vector at a time, a layer begins when the one before is done"
            if mapped
            else "arrays work at the same time, layers and the reads of one layer one after the "
            "other",
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
