"""Device models."""

from mho.compat._names import lend
from mho.compat.memtorch.bh.memristor import window
from mho.compat.memtorch.bh.memristor.Data_Driven import Data_Driven
from mho.compat.memtorch.bh.memristor.Data_Driven2021 import Data_Driven2021
from mho.compat.memtorch.bh.memristor.LinearIonDrift import LinearIonDrift
from mho.compat.memtorch.bh.memristor.Memristor import (
    Memristor,
    plot_bipolar_switching_behaviour,
    plot_hysteresis_loop,
)
from mho.compat.memtorch.bh.memristor.Stanford_PKU import Stanford_PKU
from mho.compat.memtorch.bh.memristor.VTEAM import VTEAM
from mho.compat.memtorch.bh.memristor.window import Biolek, Jogelkar, Prodromakis
from mho.compat.memtorch.utils import clip, convert_range

__all__ = [
    "VTEAM",
    "Biolek",
    "Data_Driven",
    "Data_Driven2021",
    "Jogelkar",
    "LinearIonDrift",
    "Memristor",
    "Prodromakis",
    "Stanford_PKU",
    "clip",
    "convert_range",
    "plot_bipolar_switching_behaviour",
    "plot_hysteresis_loop",
    "window",
]

lend(Memristor)
for _model in (LinearIonDrift, VTEAM, Stanford_PKU, Data_Driven, Data_Driven2021):
    lend(_model, Memristor, clip, convert_range)
del _model
