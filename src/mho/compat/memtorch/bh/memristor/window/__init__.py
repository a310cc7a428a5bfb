"""Window functions, as functions of numbers."""

from mho.compat._names import lend
from mho.compat.memtorch.bh.memristor.window.Biolek import Biolek
from mho.compat.memtorch.bh.memristor.window.Jogelkar import Jogelkar
from mho.compat.memtorch.bh.memristor.window.Prodromakis import Prodromakis

__all__ = ["Biolek", "Jogelkar", "Prodromakis"]

for _window in (Biolek, Jogelkar, Prodromakis):
    lend(_window)
del _window
