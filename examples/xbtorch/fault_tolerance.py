"""Cells that are stuck, and what helps: averaging layers, making up, and committees.

A ternary network (WAGE) goes to chips with growing proportions of stuck cells. ``plain`` writes it
once. ``LEA1`` writes several copies of a layer, and every output averages its best ones; ``LEA2``
lets the healthy cells of all copies make up for the stuck ones in the mean, ``MAO`` in the sum.
``committee`` averages the outputs of as many chips with plain mappings. All but ``plain`` take the
same number of cells. What is stuck inside of the window (50…100 µS) a sum makes up for wholly; a
cell at 500 µS is more than its neighbours can take back, and there averages do better.

An unmodified program for XBTorch; it runs on mho by

    python -m mho.compat examples/xbtorch/fault_tolerance.py [--quick]
"""

import sys
from functools import partial

import torch
import xbtorch
from digits_data import Net, load, train
from xbtorch.deployment import (
    SimpleFixedPoint,
    compute_error,
    encode_LEA1,
    encode_LEA2,
    encode_MAO,
    encode_simple_binary,
    map_random,
    test_committee,
)
from xbtorch.nn.utils import test_classifier
from xbtorch.patches import xbtorch_model

QUICK = "--quick" in sys.argv
EPOCHS = 15 if QUICK else 20
CHIPS = 2 if QUICK else 5
STUCK = (0.0, 0.1) if QUICK else (0.0, 0.02, 0.05, 0.1, 0.2)
COPIES = 6
WAGE = {"wage_quantize": True, "wage_params": {"wl_weight": 2}}
METHODS = {  # encoding, copies, how copies are read, arguments of the encoding
    "plain": (encode_simple_binary, 1, "avg", {}),
    "LEA1": (encode_LEA1, COPIES, "reduced_avg", {"alpha": 3, "beta": COPIES}),
    "LEA2": (encode_LEA2, COPIES, "avg", {}),
    "MAO": (encode_MAO, COPIES, "sum", {}),
}


def deploy(weights, method, stuck, mode, seed):
    """Return the network on a chip of its own."""
    torch.manual_seed(seed)
    encoding, copies, polling, arguments = METHODS[method]
    accelerator = SimpleFixedPoint(
        g_min=50,
        g_max=100,
        adc_bits=8,
        dac_bits=8,
        xb_size=(400, 400),
        stuck_percentage=stuck,
        stuck_mode=mode,
        weight_encoding_scheme=encoding,
        xb_mapping_scheme=partial(map_random, beta=copies),
    )
    xbtorch.initialize(inference_accelerator=accelerator, **WAGE)
    model = xbtorch_model(Net())
    model.load_state_dict(weights)
    model.initialize_array_mappings(output_polling_mode=polling, additional_args=arguments)
    model.xb_eval(enable=True)
    return model


def mean(values):
    return sum(values) / len(values)


def main():
    torch.manual_seed(0)
    loaders = load()
    digital = train(loaders[0], EPOCHS, lr=8.0, **WAGE)
    weights = digital.state_dict()
    print(f"digital, ternary weights: {test_classifier(loaders[1], digital, 'cpu')[0]:.1f} %")
    names = [*METHODS, "committee"]
    for mode, meaning in (("ideal", "at g_min or g_max"), ("real", "at 10 or 500 µS")):
        print(f"\nstuck {meaning}: accuracy (%), mean of {CHIPS} chips (error of the weights, %)")
        print("stuck %" + "".join(f"{name:>15}" for name in names))
        for stuck in STUCK:
            line = f"{100 * stuck:<7.0f}"
            for method in METHODS:
                models = [deploy(weights, method, stuck, mode, seed) for seed in range(CHIPS)]
                right = mean([test_classifier(loaders[1], model, "cpu")[0] for model in models])
                error = mean([layer[0] for model in models for layer in compute_error(model)[0]])
                line += f"{right:9.1f} ({error:3.0f})"
            members = [deploy(weights, "plain", stuck, mode, 100 + k) for k in range(COPIES)]
            print(f"{line}{test_committee(loaders[1], members, 'cpu'):15.1f}")


if __name__ == "__main__":
    main()
