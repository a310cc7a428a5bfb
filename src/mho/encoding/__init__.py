"""Encodings: weights to conductances and back."""

from mho.encoding.base import Encoding, Scaling
from mho.encoding.bit_sliced import BitSliced
from mho.encoding.differential import Differential
from mho.encoding.redundant import LEA, InnerFaultTolerance, Redundant
from mho.encoding.single_column import SingleColumn
from mho.encoding.ternary import Ternary

__all__ = [
    "LEA",
    "BitSliced",
    "Differential",
    "Encoding",
    "InnerFaultTolerance",
    "Redundant",
    "Scaling",
    "SingleColumn",
    "Ternary",
]
