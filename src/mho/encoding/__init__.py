"""Encodings: weights to conductances and back."""

from mho.encoding.base import Encoding, Scaling
from mho.encoding.binary import Binary
from mho.encoding.bit_sliced import BitSliced
from mho.encoding.differential import Differential
from mho.encoding.redundant import LEA, InnerFaultTolerance, Redundant
from mho.encoding.single_column import SingleColumn
from mho.encoding.ternary import Ternary
from mho.encoding.weighted_pairs import WeightedPairs

__all__ = [
    "LEA",
    "Binary",
    "BitSliced",
    "Differential",
    "Encoding",
    "InnerFaultTolerance",
    "Redundant",
    "Scaling",
    "SingleColumn",
    "Ternary",
    "WeightedPairs",
]
