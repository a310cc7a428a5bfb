"""Device models."""
# ruff: noqa: F401, F403

from mho.compat import _names
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
from mho.compat.memtorch.bh.memristor.window import *
from mho.compat.memtorch.utils import clip, convert_range

_names.lend(Memristor)
for _kind in (LinearIonDrift, VTEAM, Stanford_PKU, Data_Driven, Data_Driven2021):
    _names.lend(_kind, Memristor, clip, convert_range)
