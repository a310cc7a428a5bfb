"""Monte Carlo over chips; see `mho.model.many`, on which landscapes stand, too."""

from mho.model.many import FailedChipsError, listed, over_chips
from mho.runs.work import torch_threads

__all__ = ["FailedChipsError", "listed", "over_chips", "torch_threads"]
