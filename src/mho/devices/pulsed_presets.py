"""Presets of pulse-count devices: the NeuroSim table, cells of analog training, FeFETs.

Use them by name, through `mho.devices.presets`.
"""

from __future__ import annotations

import functools

from mho.cells.device import Device
from mho.cells.spread import spread_about
from mho.devices.exponential import ExponentialDevice
from mho.devices.fefet import MultiDomainFeFET
from mho.devices.steps import ConstantStep, LinearStep
from mho.devices.tabular import TabularDevice

# Cells of analog training are published in units of the weight: a window chosen here.
_LOW, _HIGH = 50e-6, 150e-6

# ---- pulse-count devices of the NeuroSim table ---------------------------------------------------


def _exponential(
    r_on: float, ratio: float, up: float, down: float, c2c: float, levels: int, back: int
) -> Device:
    return ExponentialDevice(
        g_min=1.0 / (r_on * ratio),
        g_max=1.0 / r_on,
        nonlinearity_set=up,
        nonlinearity_reset=down,
        c2c=c2c,
        levels=levels,
        levels_reset=back,
    )


def neurosim_ideal() -> Device:
    """NeuroSim's ideal analog cell: 64 linear states, 200 kΩ, on/off 50, no noise.

    Source: P.-Y. Chen, X. Peng, S. Yu, IEEE TCAD 2018, doi 10.1109/TCAD.2018.2789723, table I.
    """
    return _exponential(200e3, 50.0, 0.0, 0.0, 0.0, 64, 64)


def neurosim_targeted() -> Device:
    """NeuroSim's targeted analog cell: 64 states, nonlinearity 1/-1, noise 2 % per pulse.

    Source: P.-Y. Chen, X. Peng, S. Yu, IEEE TCAD 2018, doi 10.1109/TCAD.2018.2789723, table I.
    """
    return _exponential(200e3, 50.0, 1.0, -1.0, 0.02, 64, 64)


def ag_a_si() -> Device:
    """Ag:a-Si memristor, NeuroSim's real device: 3.1…38 nS, nonlinearity 2.4/-4.88.

    97 set pulses (3.2 V, 300 µs) and 100 reset pulses (-2.8 V, 300 µs).

    Source: S. H. Jo et al., Nano Letters 2010, doi 10.1021/nl904092h; parameters as extracted by
    P.-Y. Chen, X. Peng, S. Yu, IEEE TCAD 2018, doi 10.1109/TCAD.2018.2789723, table I, and in
    MLP+NeuroSim 3.0.
    """
    return _exponential(26e6, 12.5, 2.4, -4.88, 0.035, 97, 100)


def taox_tio2() -> Device:
    """TaOx/TiO2 memristor: 0.1…0.2 µS, 102 states, nonlinearity 1.85/-1.79.

    Noise per pulse is published as below 1 %, and taken as 1 %.

    Source: L. Gao et al., Nanotechnology 2015, doi 10.1088/0957-4484/26/45/455204; parameters as
    extracted by P.-Y. Chen, X. Peng, S. Yu, IEEE TCAD 2018, doi 10.1109/TCAD.2018.2789723,
    table I.
    """
    return _exponential(5e6, 2.0, 1.85, -1.79, 0.01, 102, 102)


def pcmo() -> Device:
    """PCMO memristor: 6.4…43 nS, 50 states, nonlinearity 3.68/-6.76.

    Noise per pulse is published as below 1 %, and taken as 1 %.

    Source: S. Park et al., IEDM 2013, doi 10.1109/IEDM.2013.6724692; parameters as extracted by
    P.-Y. Chen, X. Peng, S. Yu, IEEE TCAD 2018, doi 10.1109/TCAD.2018.2789723, table I.
    """
    return _exponential(23e6, 6.84, 3.68, -6.76, 0.01, 50, 50)


def alox_hfo2() -> Device:
    """AlOx/HfO2 memristor: 13…59 µS, 40 states, nonlinearity 1.94/-0.61.

    Source: J. Woo et al., IEEE Electron Device Letters 2016, doi 10.1109/LED.2016.2582859;
    parameters as extracted by P.-Y. Chen, X. Peng, S. Yu, IEEE TCAD 2018,
    doi 10.1109/TCAD.2018.2789723, table I.
    """
    return _exponential(16.9e3, 4.43, 1.94, -0.61, 0.05, 40, 40)


def hzo_fefet() -> Device:
    """HZO ferroelectric transistor: 40 nS…1.8 µS, 32 states, nonlinearity 1.75/1.46.

    Pulses of rising amplitude (75 ns; 3.65 V and -2.95 V on average), so both directions bend
    alike. Noise per pulse is published as below 0.5 %, and taken as 0.5 %.

    Source: M. Jerry et al., IEDM 2017, doi 10.1109/IEDM.2017.8268338.
    """
    return _exponential(559.28e3, 45.0, 1.75, 1.46, 0.005, 32, 32)


def epiram() -> Device:
    """Epitaxial SiGe memristor (EpiRAM): on/off 50.2, 64 states, nonlinearity 0.5/-0.5.

    The on-resistance of 81 kΩ is illustrative: it could not be confirmed.

    Source: S. Choi et al., Nature Materials 2018, doi 10.1038/s41563-017-0001-5; parameters as
    quoted by M. T. R. Chowdhury et al., ICONS 2024, doi 10.1109/ICONS62911.2024.00058, table I.
    """
    return _exponential(81e3, 50.2, 0.5, -0.5, 0.02, 64, 64)


def taox_hfox() -> Device:
    """TaOx/HfOx memristor: on/off 10, 128 states, nonlinearity 0.04/-0.63.

    The on-resistance of 100 kΩ is illustrative: it could not be confirmed.

    Source: parameters as quoted by M. T. R. Chowdhury et al., ICONS 2024,
    doi 10.1109/ICONS62911.2024.00058, table I.
    """
    return _exponential(100e3, 10.0, 0.04, -0.63, 0.037, 128, 128)


# ---- analog training: published in units of the weight -------------------------------------------


def gokmen_vlasov() -> Device:
    """Hypothetical cell of analog training: 1200 constant steps, 30 % spread and noise.

    Step, bounds (30 % of the half window) and up/down imbalance (±1 %) differ from cell to cell.
    The window of 50…150 µS is illustrative: the source counts in weights.

    Source: T. Gokmen, Y. Vlasov, Frontiers in Neuroscience 2016, doi 10.3389/fnins.2016.00333.
    """
    spread = 0.3 * (_HIGH - _LOW) / 2
    return ConstantStep(
        g_min=spread_about(_LOW, spread, low=0.0),
        g_max=spread_about(_HIGH, spread, low=0.0),
        step=(_HIGH - _LOW) / 1200,
        asymmetry=spread_about(0.0, 0.01, low=-1.0, high=1.0),
        d2d=0.3,
        c2c=0.3,
    )


def ecram_lithium() -> Device:
    """Lithium ECRAM (WO3 channel): about 1000 nearly linear steps, noise 30 % of a step.

    The window of 50…150 µS is illustrative: the fit counts in weights.

    Source: J. Tang et al., IEDM 2018, doi 10.1109/IEDM.2018.8614551; linear-step fit and spreads
    as in the IBM Analog Hardware Acceleration Kit (M. J. Rasch et al., AICAS 2021,
    doi 10.1109/AICAS51828.2021.9458494).
    """
    return _ecram(0.002, -0.8276, 1.1724, 0.1153, 0.5085, 0.3)


def ecram_metal_oxide() -> Device:
    """Metal-oxide ECRAM: about 7100 nearly linear steps, noise twice a step.

    The window of 50…150 µS is illustrative: the fit counts in weights.

    Source: S. Kim et al., IEDM 2019, doi 10.1109/IEDM19573.2019.8993463; linear-step fit and
    spreads as in the IBM Analog Hardware Acceleration Kit (M. J. Rasch et al., AICAS 2021,
    doi 10.1109/AICAS51828.2021.9458494).
    """
    return _ecram(2.8214e-4, -0.8286, 1.1714, 0.4152, 0.7342, 2.0)


def _ecram(
    step: float, low: float, high: float, slope_up: float, slope_down: float, noise: float
) -> Device:
    # The fit's steps, step·(1 - slope_up·w/high) and step·(1 - slope_down·w/low), written about
    # the centre of the window w = low…high, where `LinearStep` has its own.
    centre, half = (high + low) / 2, (high - low) / 2
    up = 1.0 - slope_up * centre / high
    down = 1.0 - slope_down * centre / low
    siemens = (_HIGH - _LOW) / 2 / half
    return LinearStep(
        g_min=spread_about(_LOW, 0.05 * -low * siemens, low=0.0),
        g_max=spread_about(_HIGH, 0.05 * high * siemens, low=0.0),
        step=step * (up + down) / 2 * siemens,
        asymmetry=spread_about((up - down) / (up + down), 0.01, low=-1.0, high=1.0),
        slope_set=spread_about(slope_up * half / high / up, 0.05, low=-1.0, high=1.0),
        slope_reset=spread_about(slope_down * half / -low / down, 0.05, low=-1.0, high=1.0),
        d2d=0.1,
        c2c=noise,
    )


# ---- ferroelectric transistors -------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def fefet(voltage: float) -> TabularDevice:
    """Return the jump tables of pulses of ±voltage and 50 ns."""
    return MultiDomainFeFET().tabular(voltage, -voltage, 50e-9, cells=200, pulses=600, seed=0)


def fefet_2v5() -> Device:
    """Ferroelectric transistor, pulses of ±2.5 V: jump tables of a multi-domain model.

    The table is made here, of pulses of 50 ns; the conductances 0.1…20 µS are illustrative.

    Source: S. Deng et al., VLSI 2020, doi 10.1109/VLSITechnology18217.2020.9265014.
    """
    return fefet(2.5)


def fefet_3v0() -> Device:
    """Ferroelectric transistor, pulses of ±3.0 V: jump tables of a multi-domain model.

    The table is made here, of pulses of 50 ns; the conductances 0.1…20 µS are illustrative.

    Source: S. Deng et al., VLSI 2020, doi 10.1109/VLSITechnology18217.2020.9265014.
    """
    return fefet(3.0)


def fefet_3v5() -> Device:
    """Ferroelectric transistor, pulses of ±3.5 V: jump tables of a multi-domain model.

    The table is made here, of pulses of 50 ns; the conductances 0.1…20 µS are illustrative.

    Source: S. Deng et al., VLSI 2020, doi 10.1109/VLSITechnology18217.2020.9265014.
    """
    return fefet(3.5)
