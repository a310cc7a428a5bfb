"""Energies of published converters: the one place where the survey's figures stand."""

from __future__ import annotations

from mho.core import checks

SURVEY = "B. Murmann, ADC Performance Survey 1997–2025, <= 65 nm, 10 MHz to 2 GHz"
# Energy per conversion (J) by bits: 10th percentile and median of the survey.
SURVEYED = {
    6: (1.6e-12, 6.0e-12),
    7: (2.4e-12, 3.7e-12),
    8: (5.1e-12, 12e-12),
    9: (10e-12, 51e-12),
}


def adc_energy(bits: int) -> tuple[float, float]:
    """Return the energy of one conversion (J): the survey's 10th percentile and its median.

    6 to 9 bits are the survey's figures. Beyond them the energy of the nearest is doubled or
    halved for every bit (constant energy per conversion step, Walden's figure of merit).

    Source: B. Murmann, "ADC Performance Survey 1997–2025".

    Args:
        bits: resolution, >= 1.

    Raises:
        TypeError, ValueError: if it is not a positive integer.
    """
    bits = checks.integer("bits", bits)
    nearest = min(max(bits, min(SURVEYED)), max(SURVEYED))
    low, typical = SURVEYED[nearest]
    factor = 2.0 ** (bits - nearest)
    return low * factor, typical * factor
