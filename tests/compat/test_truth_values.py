"""Truth values of the older APIs: True, False, 0 and 1; not whatever Python takes for true."""

import inspect

import numpy as np
import pytest
import torch

import public
from compat.nets import Net
from mho.compat import memtorch, xbtorch
from mho.compat.memtorch.bh.crossbar import Passive, Tile
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar, simulate_matmul
from mho.compat.memtorch.bh.memristor import window
from mho.compat.memtorch.bh.nonideality.NonLinear import apply_non_linear
from mho.compat.memtorch.bh.Quantize import quantize
from mho.compat.xbtorch.quant import quantizers

# Handed on as they are, to what asks; or without any effect, as the documents say.
EXCEPT = {
    "CellTensors.__init__ use_bindings": "no effect",
    "CellTensors.update parallelize": "no effect",
    "Daffodil.__init__ legacy": "GenericAccelerator",
    "FixedPointQuantF.forward symmetric": "word",
    "LoadCIFAR10 validation": "_loaders",
    "LoadMNIST validation": "_loaders",
    "SimpleFixedPoint.__init__ legacy": "GenericAccelerator",
    "SimpleFixedPoint.__init__ stateful": "GenericAccelerator",
    "apply_cycle_variability parallelize": "no effect",
    "encode_LEA2 log": "_made_up",
    "encode_MAO log": "_made_up",
    "fixed_point_quantize_wrapper symmetric": "word",
    "gen_tiles use_bindings": "no effect",
    "init_crossbar use_bindings": "no effect",
    "naive_program simulate_neighbours": "_check",
    "naive_scale force_scale": "scale",
    "patch_model random_crossbar_init": "take_settings",
    "patch_model transistor": "take_settings",
    "patch_model use_bindings": "no effect",
    "patch_model verbose": "take_settings",
    "simulate_matmul use_bindings": "no effect",
    "solve_passive use_bindings": "no effect",
    "tile_matmul use_bindings": "no effect",
    "tile_matmul_row transistor": "tile_matmul",
}
WRONG = ("false", "", 2, 0.5, None, torch.ones(2))
FALSE = (False, 0, 0.0, np.bool_(False), np.int64(0), torch.tensor(False), torch.tensor(0))


def test_every_truth_value_is_asked_for():
    walked = {k: v for k, v in public.callables(compat=True).items() if ".compat." in k}
    found, count = public.unchecked_truths(walked)
    names = {f"{walked[name].__qualname__} {flag}" for name, flag in map(str.split, found)}
    assert count > 40
    assert names == set(EXCEPT)


CELLS = {"memristor_model": memtorch.bh.memristor.VTEAM, "memristor_model_params": {}}
X = torch.tensor([0.3, -0.4])
G = torch.full((2, 2), 1e-3)


def layer(**settings):
    kind = memtorch.mn.Linear
    return kind(torch.nn.Linear(2, 2), **CELLS, **{"verbose": False, **settings})


def accelerator(**settings):
    return xbtorch.deployment.SimpleFixedPoint(xb_size=(8, 8), **settings)


def patched(flag):
    xbtorch.initialize(inference_accelerator=accelerator())
    return xbtorch.patches.xbtorch_model(Net(torch.nn.Linear(2, 2)), replace_all=flag)


CALLS = {
    "override_original": lambda flag: quantize(X.clone(), 4, override_original=flag),
    "function": lambda flag: memtorch.bh.StochasticParameter(min=1, max=2, function=flag),
    "nl": lambda flag: simulate_matmul(X, Crossbar(*CELLS.values(), (2, 2)), nl=flag),
    "det_readout_currents": lambda flag: Passive.solve_passive(
        G, X, X, 1.0, 1.0, det_readout_currents=flag
    ),
    "input": lambda flag: Tile.gen_tiles(G, (2, 2), input=flag),
    "random_crossbar_init": lambda flag: layer(random_crossbar_init=flag),
    "transistor": lambda flag: layer(
        transistor=flag, source_resistance=1.0, line_resistance=1.0
    ),
    "verbose": lambda flag: layer(verbose=flag),
    "legacy": lambda flag: window.Jogelkar(0.5, legacy=flag),
    "legacy ": lambda flag: layer(legacy=flag),
    "legacy  ": lambda flag: accelerator(legacy=flag),
    "simulate": lambda flag: apply_non_linear(layer(), simulate=flag),
    "stateful": lambda flag: accelerator(stateful=flag),
    "symmetric": lambda flag: quantizers.fixed_point_quantize_wrapper(X, 8, 4, flag),
    "wage_quantize": lambda flag: xbtorch.initialize(wage_quantize=flag),
    "replace_all": patched,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_other_values_are_refused_by_name(name):
    for wrong in WRONG:
        with pytest.raises(TypeError, match=rf"^{name.strip()} must be bool, got "):
            CALLS[name](wrong)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flag", FALSE, ids=repr)
def test_what_stands_for_false_is_false(flag):
    told = accelerator(stateful=flag, legacy=flag)
    assert told.stateful is False
    assert told.legacy is False
    assert layer(verbose=flag).verbose is False
    first, again = (
        quantizers.fixed_point_quantize_wrapper(-X * 99, 4, 2, f) for f in (False, flag)
    )
    assert torch.equal(first, again)
    assert isinstance(CALLS["function"](flag), float)


def test_a_refused_switch_changes_nothing():
    model = memtorch.mn.Module.patch_model(
        torch.nn.Sequential(torch.nn.Linear(2, 2)), **CELLS,
        module_parameters_to_patch={torch.nn.Linear}, verbose=False,
    )  # fmt: skip
    with pytest.raises(TypeError, match="enable_forward_legacy must be bool"):
        model.forward_legacy("yes")
    assert model[0].forward_legacy_enabled is False
    assert (
        "enable_forward_legacy" in inspect.signature(memtorch.mn.Module.forward_legacy).parameters
    )
