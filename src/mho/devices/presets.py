"""Named devices: published parameter sets, each with its source.

    >>> from mho.devices import presets
    >>> device = presets.get("ag_a_si")

A preset is a function that returns a `Device`; its docstring says what it is, where the numbers
come from, and which of them are **illustrative** (of a usual size, chosen here, because the source
gives only normalised values or none). Change one with ``device.replace(...)``.

Measured tables of other groups are not shipped; a measured ReRAM I–V or pulse response becomes a
device through `mho.fit`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import NamedTuple

from mho.cells.device import Device
from mho.cells.spread import Spread, spread_about
from mho.core.text import meant
from mho.devices import pulsed_presets as pulsed
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.jart_vcm import JARTVCM
from mho.devices.linear import LinearDevice
from mho.devices.linear_ion_drift import LinearIonDrift
from mho.devices.mtj import MTJ
from mho.devices.pcm import PCM, PCMHermes
from mho.devices.pickett import Pickett
from mho.devices.reram import ReRAMCMO, ReRAMWan
from mho.devices.stanford_pku import StanfordPKU


class Preset(NamedTuple):
    """What `list` says of a preset.

    Attributes:
        name: for `get`.
        description: one line.
        citation: where the numbers come from.
    """

    name: str
    description: str
    citation: str


def get(name: str) -> Device:
    """Return the device of a name.

    Args:
        name: one of `list`.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in _PRESETS:
        raise ValueError(
            f"no preset {name!r}; there are {', '.join(_PRESETS)}{meant(name, _PRESETS)}"
        )
    return _PRESETS[name]()


class Presets(tuple[Preset, ...]):
    """Presets in a row; prints a line for each."""

    __slots__ = ()

    def __repr__(self) -> str:
        width = max((len(preset.name) for preset in self), default=0)
        return "\n".join(f"{preset.name:<{width}}  {preset.description}" for preset in self)


def list() -> Presets:  # read as presets.list()
    """Return every preset's name, one-line description and citation."""
    return Presets(Preset(name, *_said(function)) for name, function in _PRESETS.items())


def _said(function: Callable[[], Device]) -> tuple[str, str]:
    # The docstring's first line, and its paragraph that begins with "Source:".
    text = inspect.getdoc(function) or ""
    found = re.search(r"^Source: (.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    citation = " ".join(found[1].split()) if found else ""
    return text.partition("\n")[0], citation


def ideal() -> Device:
    """An ohmic cell that holds any conductance of 1…100 µS exactly.

    Source: none: nothing but ``I = g · v``.
    """
    return LinearDevice(g_min=1e-6, g_max=100e-6)


# ---- voltage-driven devices ----------------------------------------------------------------------


def tio2_strukov() -> Device:
    """TiO2 memristor of the first paper: linear ion drift, 100 Ω…16 kΩ.

    Source: D. B. Strukov et al., Nature 2008, doi 10.1038/nature06932; on-resistance as in
    D. Biolek's SPICE model, Radioengineering 2009.
    """
    return LinearIonDrift()


def tio2_pickett() -> Device:
    """TiO2 memristor with a moving tunnel barrier.

    Source: M. D. Pickett et al., J. Appl. Phys. 2009, doi 10.1063/1.3236506.
    """
    return Pickett()


def tiox_2018() -> Device:
    """TiOx ReRAM, rates fitted to measured transients (2018): 1.3…17 kΩ.

    Source: I. Messaris et al., IEEE TCAD 2018, doi 10.1109/TCAD.2018.2791468.
    """
    return DataDriven2018()


def tiox_2021() -> Device:
    """TiOx ReRAM, rates fitted to measured transients (2021): 1.6…3 kΩ.

    Source: D. Vaidya et al., IEEE Trans. Electron Devices 2021, doi 10.1109/TED.2021.3101996.
    """
    return DataDriven2021()


def hfox_stanford_pku() -> Device:
    """HfOx ReRAM: the Stanford–PKU filament model with its published example parameters.

    Source: Z. Jiang et al., SISPAD 2014, doi 10.1109/SISPAD.2014.6931558, and IEEE Trans. Electron
    Devices 2016, doi 10.1109/TED.2016.2545412.
    """
    return StanfordPKU()


def hfox_stanford_pku_retentive() -> Device:
    """HfOx ReRAM: the Stanford–PKU filament model, its random term frozen at rest: it retains.

    The published random term hardly depends on the temperature (its onset at 450 K is 500 K wide):
    it acts on a cell at rest too, which forgets any state within 30 ms. Here the onset is 8 K wide
    (**illustrative**): the term acts only where a cell's own current heats it towards 450 K or
    beyond, late in a set; at rest and 298 K the gap spreads by 2 pm in ten years, 0.8 % in the
    current (by 85 pm, a third, within two days at 85 °C).

    Source: Z. Jiang et al., SISPAD 2014, doi 10.1109/SISPAD.2014.6931558, and IEEE Trans. Electron
    Devices 2016, doi 10.1109/TED.2016.2545412.
    """
    return StanfordPKU(t_smooth=8.0)


def hfox_jart() -> Device:
    """HfOx valence-change cell: JART VCM v1b with its spread from cell to cell.

    The spreads are those of the public netlister for the model: vacancies 0.008 ± 0.002 to
    20 ± 1 · 10²⁶/m³, disc 0.4 ± 0.04 nm, radius 45 ± 5 nm, cut off at three standard deviations.
    Variability from cycle to cycle is off: ``device.replace(c2c_radius=0.1, c2c_length=0.1)``.

    Source: C. Bengel et al., IEEE TCAS-I 2020, doi 10.1109/TCSI.2020.3018502; deterministic model
    F. Cüppers et al., APL Materials 2019, doi 10.1063/1.5108654.
    """

    def spread(mean: float, sigma: float) -> Spread:
        return spread_about(mean, sigma, low=mean - 3.0 * sigma, high=mean + 3.0 * sigma)

    return JARTVCM(
        n_min=spread(0.008e26, 0.002e26),
        n_max=spread(20e26, 1e26),
        l_disc=spread(0.4e-9, 0.04e-9),
        radius=spread(45e-9, 5e-9),
    )


# ---- devices known by their statistics -----------------------------------------------------------


def pcm_joshi() -> Device:
    """Phase-change memory, 25 µS: programming error, drift and 1/f noise of a million cells.

    Source: V. Joshi et al., Nat. Commun. 2020, doi 10.1038/s41467-020-16108-9.
    """
    return PCM()


def pcm_hermes_1() -> Device:
    """Phase-change memory of the Hermes core, one device a weight.

    Source: M. Le Gallo et al., Nature Electronics 2023, doi 10.1038/s41928-023-01010-1.
    """
    return PCMHermes(devices=1)


def pcm_hermes_2() -> Device:
    """Phase-change memory of the Hermes core, two devices a weight.

    Source: M. Le Gallo et al., Nature Electronics 2023, doi 10.1038/s41928-023-01010-1.
    """
    return PCMHermes(devices=2)


def reram_wan() -> Device:
    """Metal-oxide ReRAM array (NeuRRAM), 1…40 µS: relaxation over two days.

    Source: W. Wan et al., Nature 2022, doi 10.1038/s41586-022-04992-8.
    """
    return ReRAMWan()


def reram_cmo() -> Device:
    """Conductive-metal-oxide/HfOx ReRAM array, 9…88 µS, programmed to 0.2 %.

    Source: D. F. Falcone et al., arXiv:2502.04524.
    """
    return ReRAMCMO()


# ---- magnetic ------------------------------------------------------------------------------------


def mtj() -> Device:
    """Perpendicular magnetic tunnel junction, binary, with stochastic switching.

    Conductances, critical voltages, barrier and anisotropy are illustrative: round numbers for a
    40 nm CoFeB/MgO junction like that of S. Ikeda et al., Nature Materials 2010,
    doi 10.1038/nmat2804.

    Source: switching law of W. H. Butler et al., IEEE Trans. Magn. 2012,
    doi 10.1109/TMAG.2012.2209122; bias dependence and damping as in Y. Zhang et al., IEEE Trans.
    Electron Devices 2012, doi 10.1109/TED.2011.2178416.
    """
    return MTJ()


_PRESETS: dict[str, Callable[[], Device]] = {
    function.__name__: function
    for function in (
        ideal,
        pulsed.neurosim_ideal,
        pulsed.neurosim_targeted,
        pulsed.ag_a_si,
        pulsed.taox_tio2,
        pulsed.pcmo,
        pulsed.alox_hfo2,
        pulsed.hzo_fefet,
        pulsed.epiram,
        pulsed.taox_hfox,
        pulsed.gokmen_vlasov,
        pulsed.ecram_lithium,
        pulsed.ecram_metal_oxide,
        tio2_strukov,
        tio2_pickett,
        tiox_2018,
        tiox_2021,
        hfox_stanford_pku,
        hfox_stanford_pku_retentive,
        hfox_jart,
        pcm_joshi,
        pcm_hermes_1,
        pcm_hermes_2,
        reram_wan,
        reram_cmo,
        pulsed.fefet_2v5,
        pulsed.fefet_3v0,
        pulsed.fefet_3v5,
        mtj,
    )
}
