"""A finite chip: where layers lie on it, what its defects do, and what helps against them."""

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
from mho.chip.defects import outside
from mho.chip.metrics import MappingError, mapping_error
from mho.chip.permute import best_order, best_orders
from mho.chip.placement import Region

__all__ = [
    "Accelerator",
    "Chip",
    "CollaborativeClassifier",
    "Committee",
    "Daffodil",
    "FixedPointAccelerator",
    "MappingError",
    "Region",
    "accelerator",
    "accelerators",
    "best_order",
    "best_orders",
    "collaborative",
    "hamming",
    "head_of",
    "least_distance",
    "mapping_error",
    "outside",
    "search_code",
]
