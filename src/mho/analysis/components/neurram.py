"""NeuRRAM's neurons and lines: 130 nm, 1.8 V; one part a class, as its figures were fitted.

W. Wan et al., "A compute-in-memory chip based on resistive random-access memory", Nature 608, 2022,
doi 10.1038/s41586-022-04992-8. Energies, areas and leakages are CiMLoop's fits to the chip's
figures (Accelergy's library, ``wan/components.csv`` and ``neurram.py``), with what the two editions
differ in as the range. Energies and leakages go with the square of the voltage. Times are derived
from the measured throughputs: one vector takes 0.27 µs · Σ(2^p − 1) over its phases of p bits, and
0.30 µs for every converter step and phase. The four areas add up to the 1270 µm² of the chip's
neuron, so that the older edition's sampler is typical.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.analysis.components.base import Component, Estimate, between

SOURCE = "Wan et al. (NeuRRAM) 2022, doi 10.1038/s41586-022-04992-8, as fitted by CiMLoop"
CONDITIONS = "130 nm, 1.8 V; fitted to the chip's figures"


@dataclass(frozen=True)
class _Neuron(Component):
    voltage: float = 1.8

    node = 130e-9
    source = SOURCE
    conditions = CONDITIONS

    def __post_init__(self) -> None:
        between(self, "voltage", 1.2, 1.8, "V")

    def _charged(self, *joules: float) -> Estimate:
        return Estimate.covering(*joules) * (self.voltage / 1.8) ** 2


@dataclass(frozen=True)
class NeuRRAMADC(_Neuron):
    """The neuron as a converter: one use is a step, a comparison and a decrement of charge.

    Attributes:
        voltage: supply (V), 1.2 to 1.8.

    Raises:
        TypeError, ValueError: if it is no number, or out of range.
    """

    use = "one step"

    @property
    def energy(self) -> Estimate:
        """Of one step (J): 0.3 pJ in the newer edition, 0.25 in the older."""
        return self._charged(0.3e-12, 0.25e-12)

    @property
    def latency(self) -> Estimate:
        """Of one step (s)."""
        return Estimate.exact(0.30e-6)

    @property
    def area(self) -> Estimate:
        """Of one converter (m²)."""
        return Estimate.exact(400e-12)

    @property
    def leakage(self) -> Estimate:
        """As assumed there (W)."""
        return self._charged(1e-8)


@dataclass(frozen=True)
class NeuRRAMSample(_Neuron):
    """Sampling of a bit line's charge; one use is one sample.

    Attributes:
        voltage: supply (V), 1.2 to 1.8.

    Raises:
        TypeError, ValueError: if it is no number, or out of range.
    """

    use = "one sample"

    @property
    def energy(self) -> Estimate:
        """Of one sample (J)."""
        return self._charged(1.2e-12)

    @property
    def area(self) -> Estimate:
        """Of one sampler (m²): 350 µm² in the older edition, 45 in the newer."""
        return Estimate.covering(350e-12, 45e-12)

    @property
    def leakage(self) -> Estimate:
        """As assumed there (W)."""
        return self._charged(1e-8)


@dataclass(frozen=True)
class NeuRRAMIntegrator(_Neuron):
    """Integrating amplifier of a bit line; one use adds one unit pulse of the inputs.

    Attributes:
        voltage: supply (V), 1.2 to 1.8.

    Raises:
        TypeError, ValueError: if it is no number, or out of range.
    """

    use = "one unit pulse"

    @property
    def energy(self) -> Estimate:
        """Of one unit pulse (J)."""
        return self._charged(0.25e-12)

    @property
    def latency(self) -> Estimate:
        """Of one unit pulse (s)."""
        return Estimate.exact(0.27e-6)

    @property
    def area(self) -> Estimate:
        """Of one integrator (m²)."""
        return Estimate.exact(350e-12)

    @property
    def leakage(self) -> Estimate:
        """As assumed there (W)."""
        return self._charged(5e-9)


@dataclass(frozen=True)
class NeuRRAMShiftAdd(_Neuron):
    """Shift-and-add of the converter's bits; one use is one converter step.

    Attributes:
        voltage: supply (V), 1.2 to 1.8.

    Raises:
        TypeError, ValueError: if it is no number, or out of range.
    """

    use = "one step"

    @property
    def energy(self) -> Estimate:
        """Of one step (J)."""
        return self._charged(0.1e-12)

    @property
    def area(self) -> Estimate:
        """Of one unit (m²)."""
        return Estimate.exact(170e-12)

    @property
    def leakage(self) -> Estimate:
        """As assumed there (W)."""
        return self._charged(5e-9)
