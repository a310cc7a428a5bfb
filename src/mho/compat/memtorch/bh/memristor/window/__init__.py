"""Window functions, as functions of numbers."""

from mho.compat.memtorch.bh.memristor.window.Biolek import Biolek
from mho.compat.memtorch.bh.memristor.window.Jogelkar import Jogelkar
from mho.compat.memtorch.bh.memristor.window.Prodromakis import Prodromakis

__all__ = ["Biolek", "Jogelkar", "Prodromakis"]
