"""Many simulations of one thing: Monte Carlo over chips, a network's accuracy on them."""

from mho.study.chips import over_chips
from mho.study.network import Accuracy, accuracy, ideal_cells

__all__ = ["Accuracy", "accuracy", "ideal_cells", "over_chips"]
