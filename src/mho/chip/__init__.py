"""A finite chip: where layers lie on it, what its defects do, and what helps against them."""

from typing import Any

from mho.chip.boards import (
    Accelerator,
    Daffodil,
    FixedPointAccelerator,
    accelerator,
    accelerators,
)
from mho.chip.chip import Chip
from mho.chip.codes import (
    CollaborativeClassifier,
    collaborative,
    hamming,
    head_of,
    least_distance,
    search_code,
)
from mho.chip.committee import Committee
from mho.chip.cores import Cores, Rewriting
from mho.chip.defects import outside_window
from mho.chip.mapper import place
from mho.chip.mapping import CoreMapping, MappedLayer
from mho.chip.metrics import MappingError, mapping_error
from mho.chip.permute import best_order, best_orders
from mho.chip.placement import Region
from mho.chip.tiles import LayerShape, Tile
from mho.core import renamed

__all__ = [
    "Accelerator",
    "Chip",
    "CollaborativeClassifier",
    "Committee",
    "CoreMapping",
    "Cores",
    "Daffodil",
    "FixedPointAccelerator",
    "LayerShape",
    "MappedLayer",
    "MappingError",
    "Region",
    "Rewriting",
    "Tile",
    "accelerator",
    "accelerators",
    "best_order",
    "best_orders",
    "collaborative",
    "hamming",
    "head_of",
    "least_distance",
    "mapping_error",
    "outside_window",
    "place",
    "search_code",
]


def __getattr__(name: str) -> Any:
    return renamed.of_module(__name__, name, {"outside": outside_window})
