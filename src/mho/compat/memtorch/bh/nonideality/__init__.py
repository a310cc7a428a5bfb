"""Non-idealities of devices, applied to patched models."""

from mho.compat._names import lend
from mho.compat.memtorch.bh.crossbar import naive_program
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
from mho.compat.memtorch.map import naive_map
from mho.compat.memtorch.mn import patch_model, supported_module_parameters

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
    "supported_module_parameters",
]

lend(
    NonIdeality,
    apply_device_faults,
    apply_endurance_model,
    apply_finite_conductance_states,
    apply_non_linear,
    apply_retention_model,
    supported_module_parameters=supported_module_parameters,
)
lend(Endurance, model_endurance_retention, naive_map, naive_program, patch_model)
lend(Retention, model_conductance_drift, model_endurance_retention, naive_map, naive_program)
