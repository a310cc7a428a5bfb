"""MemTorch's introduction: a trained network is patched onto crossbars, tuned, and tested.

Every row patches the same network in another way: cut into tiles, with converters, in passive
arrays whose wires count, with one column for each weight.

    python -m mho.compat examples/memtorch/inference_mlp.py [--quick]
"""

import copy
import sys

import memtorch
import torch
from digits_data import Net, accuracy, load, train
from memtorch.map.Input import naive_scale
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model

QUICK = "--quick" in sys.argv
VTEAM = {"time_series_resolution": 1e-10, "r_on": 1e4, "r_off": 1e5}
CONVERTED = {"max_input_voltage": 0.3, "ADC_resolution": 8, "quant_method": "linear"}
PASSIVE = {"transistor": False, "source_resistance": 20.0}
WAYS = {
    "whole arrays": {},
    "single columns": {"scheme": memtorch.bh.Scheme.SingleColumn},
    "tiles of 32 x 32": {"tile_shape": (32, 32)},
    "tiles, 8-bit converters": {"tile_shape": (32, 32), **CONVERTED},
    "tiles, 4-bit converters": {"tile_shape": (32, 32), **CONVERTED, "ADC_resolution": 4},
    "tiles, 3-bit converters": {"tile_shape": (32, 32), **CONVERTED, "ADC_resolution": 3},
    "passive, 1 ohm wires": {**PASSIVE, "line_resistance": 1.0},
    "passive, 10 ohm wires": {**PASSIVE, "line_resistance": 10.0},
    "passive, 10 ohm, tiles": {**PASSIVE, "line_resistance": 10.0, "tile_shape": (32, 32)},
}


def patch(model, **options):
    return patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params=VTEAM,
        module_parameters_to_patch=[torch.nn.Linear],
        mapping_routine=naive_map,
        scaling_routine=naive_scale,
        programming_routine=None,
        verbose=False,
        **options,
    )


def main():
    torch.manual_seed(0)
    train_data, test_data = load()
    model = train(Net(), train_data, epochs=5 if QUICK else 30)
    print(f"digital network: {accuracy(model, test_data):.1f} % of {len(test_data[1])} digits")
    with torch.no_grad():
        wanted = model(test_data[0])
    print(f"\n{'on crossbars':<26}{'accuracy':>10}{'error of the logits':>21}")
    for name, options in list(WAYS.items())[: 4 if QUICK else None]:
        patched = patch(model, **options)
        patched.tune_()
        with torch.no_grad():
            error = float((patched(test_data[0]) - wanted).norm() / wanted.norm())
        print(f"{name:<26}{accuracy(patched, test_data):>8.1f} %{100 * error:>19.2f} %")
    device = next(iter(patched.fc1.crossbars[0].devices.flat))
    window = f"{1e6 / device.r_off:.0f} to {1e6 / device.r_on:.0f} uS"
    print(f"\none of its devices: {1e6 * device.g:.1f} uS, in a window of {window}")
    patched.disable_legacy()
    print(f"digital weights given up: {accuracy(patched, test_data):.1f} % still")


main()
