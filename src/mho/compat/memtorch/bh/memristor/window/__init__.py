"""Window functions, as functions of numbers."""

from mho.compat import _names
from mho.compat.memtorch.bh.memristor.window.Biolek import Biolek
from mho.compat.memtorch.bh.memristor.window.Jogelkar import Jogelkar
from mho.compat.memtorch.bh.memristor.window.Prodromakis import Prodromakis

for _window in (Biolek, Jogelkar, Prodromakis):
    _names.lend(_window)
