"""Models of endurance and retention."""

from mho.compat.memtorch.bh.nonideality.endurance_retention_models.conductance_drift import (
    model_conductance_drift,
)
from mho.compat.memtorch.bh.nonideality.endurance_retention_models.empirical_metal_oxide_RRAM import (  # noqa: E501
    OperationMode,
    model_endurance_retention,
    model_endurance_retention_gradual,
    scale_p_0,
)

__all__ = [
    "OperationMode",
    "model_conductance_drift",
    "model_endurance_retention",
    "model_endurance_retention_gradual",
    "scale_p_0",
]
