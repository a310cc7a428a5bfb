"""Inputs as voltages: how large they may be, how they are encoded, where converters clip.

Devices of the data-driven model conduct as ``sinh``: the larger the voltages, the less a product
of matrices it is. Converters of few bits gain from clipping the rarest, largest currents.

    python -m mho.compat examples/memtorch/nonlinear_and_input_encoding.py [--quick]
"""

import copy
import sys

import memtorch
import torch
from digits_data import Net, accuracy, load, train
from memtorch.bh.nonideality.NonIdeality import apply_nonidealities
from memtorch.map.Input import naive_scale
from memtorch.mn.Module import patch_model

QUICK = "--quick" in sys.argv
NonIdeality = memtorch.bh.nonideality.NonIdeality


def patch(model, device=memtorch.bh.memristor.Data_Driven, params=None, **options):
    return patch_model(
        copy.deepcopy(model),
        memristor_model=device,
        memristor_model_params=params or {},
        module_parameters_to_patch=[torch.nn.Linear],
        tile_shape=(32, 32),
        verbose=False,
        **options,
    )


def centred(module, input):
    """Encode as a user's own routine: half of full scale down, and `naive_scale`."""
    return naive_scale(module, input - 0.5 * input.max(), force_scale=True)


def largest_voltages(model, test_data, wanted):
    print("nonlinear devices (data-driven model), inputs encoded to at most:")
    print(f"{'volts':>8}{'accuracy':>12}{'error of the logits':>22}")
    for volts in [0.1, 2.0] if QUICK else [0.1, 0.3, 0.5, 1.0, 1.5, 2.0]:
        patched = apply_nonidealities(
            patch(model, max_input_voltage=volts),
            non_idealities=[NonIdeality.NonLinear],
            simulate=True,
        )
        patched.tune_()
        with torch.no_grad():
            error = float((patched(test_data[0]) - wanted).norm() / wanted.norm())
        print(f"{volts:>8.1f}{accuracy(patched, test_data):>10.1f} %{100 * error:>20.1f} %")


def encodings():
    print("\nwhat a layer with max_input_voltage=0.3 drives its lines with:")
    layer = memtorch.mn.Linear(
        torch.nn.Linear(4, 2), memtorch.bh.memristor.VTEAM, {}, max_input_voltage=0.3, verbose=False
    )
    for x in (torch.tensor([0.0, 0.5, 1.0, 2.0]), torch.tensor([0.0, 0.05, 0.1, 0.2])):
        ways = {
            "naive_scale": naive_scale(layer, x),
            "force_scale": naive_scale(layer, x, force_scale=True),
            "a user's own": centred(layer, x),
        }
        print(f"  inputs {x.tolist()}")
        for name, volts in ways.items():
            print(f"    {name:<14}" + "".join(f"{v:>8.3f}" for v in volts.tolist()))


def overflow(model, test_data):
    rates = [0.0, 0.05] if QUICK else [0.0, 0.01, 0.05, 0.1, 0.3]
    print("\nlinear converters that leave out the largest of each 32 currents, % right:")
    print(f"{'bits':>6}" + "".join(f"{100 * rate:>9.0f} %" for rate in rates))
    params = {"r_on": 1e4, "r_off": 1e5}
    for bits in [2, 6] if QUICK else [2, 3, 4, 6]:
        found = []
        for rate in rates:
            patched = patch(
                model,
                memtorch.bh.memristor.VTEAM,
                params,
                max_input_voltage=0.3,
                ADC_resolution=bits,
                ADC_overflow_rate=rate,
                quant_method="linear",
            )
            patched.tune_(tune_kwargs={"<class 'memtorch.mn.Linear.Linear'>": {"input_shape": 500}})
            found.append(accuracy(patched, test_data))
        print(f"{bits:>6}" + "".join(f"{value:>11.1f}" for value in found))


def main():
    torch.manual_seed(0)
    train_data, test_data = load()
    model = train(Net(), train_data, epochs=5 if QUICK else 30)
    print(f"digital network: {accuracy(model, test_data):.1f} %\n")
    with torch.no_grad():
        wanted = model(test_data[0])
    largest_voltages(model, test_data, wanted)
    encodings()
    overflow(model, test_data)


main()
