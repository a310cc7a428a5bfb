"""Non-idealities of devices, applied to patched models."""

from mho.compat.memtorch.bh.nonideality import (
    DeviceFaults,
    Endurance,
    FiniteConductanceStates,
    NonLinear,
    Retention,
    endurance_retention_models,
)
from mho.compat.memtorch.bh.nonideality.DeviceFaults import (
    apply_cycle_variability,
    apply_device_faults,
)
from mho.compat.memtorch.bh.nonideality.Endurance import apply_endurance_model
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import (
    OperationMode,
    model_conductance_drift,
    model_endurance_retention,
    model_endurance_retention_gradual,
    scale_p_0,
)
from mho.compat.memtorch.bh.nonideality.FiniteConductanceStates import (
    apply_finite_conductance_states,
)
from mho.compat.memtorch.bh.nonideality.NonIdeality import (
    NonIdeality,
    apply_nonidealities,
    required,
)
from mho.compat.memtorch.bh.nonideality.NonLinear import apply_non_linear
from mho.compat.memtorch.bh.nonideality.Retention import apply_retention_model

__all__ = [
    "DeviceFaults",
    "Endurance",
    "FiniteConductanceStates",
    "NonIdeality",
    "NonLinear",
    "OperationMode",
    "Retention",
    "apply_cycle_variability",
    "apply_device_faults",
    "apply_endurance_model",
    "apply_finite_conductance_states",
    "apply_non_linear",
    "apply_nonidealities",
    "apply_retention_model",
    "endurance_retention_models",
    "model_conductance_drift",
    "model_endurance_retention",
    "model_endurance_retention_gradual",
    "required",
    "scale_p_0",
]
