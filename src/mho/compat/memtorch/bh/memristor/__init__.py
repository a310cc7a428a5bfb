"""Device models."""

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

__all__ = [
    "VTEAM",
    "Data_Driven",
    "Data_Driven2021",
    "LinearIonDrift",
    "Memristor",
    "Stanford_PKU",
    "plot_bipolar_switching_behaviour",
    "plot_hysteresis_loop",
    "window",
]

# Each name is the class and the module of that name.
for _class in (Memristor, LinearIonDrift, VTEAM, Stanford_PKU, Data_Driven, Data_Driven2021):
    setattr(_class, _class.__name__, _class)
del _class
