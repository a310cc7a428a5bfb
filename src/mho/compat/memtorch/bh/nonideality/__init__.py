"""Non-idealities of devices, applied to patched models."""
# ruff: noqa: F403, F405

from mho.compat import _names
from mho.compat.memtorch.bh.crossbar.Program import naive_program
from mho.compat.memtorch.bh.nonideality import Endurance, Retention
from mho.compat.memtorch.bh.nonideality.DeviceFaults import *
from mho.compat.memtorch.bh.nonideality.Endurance import *
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import *
from mho.compat.memtorch.bh.nonideality.FiniteConductanceStates import *
from mho.compat.memtorch.bh.nonideality.NonIdeality import *
from mho.compat.memtorch.bh.nonideality.NonLinear import *
from mho.compat.memtorch.bh.nonideality.Retention import *
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn.Module import patch_model, supported_module_parameters

_names.lend(
    NonIdeality,
    apply_device_faults,
    apply_endurance_model,
    apply_finite_conductance_states,
    apply_non_linear,
    apply_retention_model,
    supported_module_parameters=supported_module_parameters,
)
_names.lend(Endurance, model_endurance_retention, naive_map, naive_program, patch_model)
_names.lend(Retention, model_conductance_drift, model_endurance_retention, naive_map, naive_program)
