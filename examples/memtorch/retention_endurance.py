"""Devices that drift, forget and wear out, and what tuning again gives back.

Conductance drift ``G = G0 (t / t0)^-nu``; and metal-oxide devices that fail past a threshold of
time or of SET-RESET cycles, suddenly (to a stable resistance) or gradually.

    python -m mho.compat examples/memtorch/retention_endurance.py [--quick]
"""

import copy
import math
import sys

import memtorch
import torch
from digits_data import Net, accuracy, load, train
from memtorch.bh.nonideality.endurance_retention_models import (
    OperationMode,
    model_conductance_drift,
    model_endurance_retention,
    scale_p_0,
)
from memtorch.bh.nonideality.NonIdeality import apply_nonidealities
from memtorch.mn.Module import patch_model

QUICK = "--quick" in sys.argv
NonIdeality = memtorch.bh.nonideality.NonIdeality
R_ON, R_OFF = 1e4, 1e5
DAY = 24 * 3600.0
TIMES = {"1 s": 1.0 + 1e-9, "1 hour": 3600.0, "1 day": DAY, "1 year": 365 * DAY}
# p_0 (cycles), p_1 (1/nm) and p_2 of the published law: devices of 10 nm fail at p_0 exp(10 p_1).
LAW = [1.35e4, 0.2, 0.0]


def patch(model, sigma=0.1):
    spread = memtorch.bh.StochasticParameter
    patched = patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params={
            "r_on": spread(loc=R_ON, scale=sigma * R_ON, min=1),
            "r_off": spread(loc=R_OFF, scale=sigma * R_OFF, min=1),
        },
        module_parameters_to_patch=[torch.nn.Linear],
        tile_shape=(32, 32),
        max_input_voltage=0.3,
        ADC_resolution=8,
        quant_method="linear",
        verbose=False,
    )
    patched.tune_()
    return patched


def before_and_after(title, cases, test_data):
    print(f"\n{title:<34}{'as it is':>10}{'tuned again':>14}")
    for name, model in cases:
        as_it_is = accuracy(model, test_data)
        model.tune_()
        print(f"  {name:<32}{as_it_is:>8.1f} %{accuracy(model, test_data):>12.1f} %")


def drifted(patched, seconds, nu):
    return apply_nonidealities(
        copy.deepcopy(patched),
        non_idealities=[NonIdeality.Retention],
        time=seconds,
        retention_model=model_conductance_drift,
        retention_model_kwargs={"initial_time": 1.0, "drift_coefficient": nu},
    )


def worn(patched, cycles, mode, p_0=LAW[0]):
    law = [p_0, *LAW[1:], 0.05 if mode is OperationMode.gradual else 0.0]
    return apply_nonidealities(
        copy.deepcopy(patched),
        non_idealities=[NonIdeality.Endurance],
        x=cycles,
        endurance_model=model_endurance_retention,
        endurance_model_kwargs={
            "operation_mode": mode,
            "p_lrs": law,
            "stable_resistance_lrs": 4e4,
            "p_hrs": None,  # the high-resistance state lasts
            "stable_resistance_hrs": R_OFF,
            "cell_size": 10,
            "temperature": 350,
        },
    )


def main():
    torch.manual_seed(0)
    train_data, test_data = load()
    model = train(Net(), train_data, epochs=5 if QUICK else 30)
    patched = patch(model)
    digital, on_crossbars = accuracy(model, test_data), accuracy(patched, test_data)
    print(f"digital {digital:.1f} %, on crossbars {on_crossbars:.1f} %")
    for nu in [0.1] if QUICK else [0.05, 0.1, 0.2]:
        cases = [(name, drifted(patched, seconds, nu)) for name, seconds in TIMES.items()]
        before_and_after(f"drift, nu = {nu}", cases, test_data)
    for mode in OperationMode:
        cases = [(f"{x:.0e} cycles", worn(patched, x, mode)) for x in [1e4, 1e6, 1e9]]
        before_and_after(f"{mode.name} endurance failure", cases, test_data)
    print("\nhow p_0 goes with the stop voltage of RESET (best at 1.4 V):")
    for v_stop in [1.2, 1.4, 1.6]:
        p_0 = scale_p_0(LAW[0], LAW[1], v_stop, 1.0, 1.8, 1.4)
        kept = accuracy(worn(patched, 3e4, OperationMode.sudden, p_0), test_data)
        cycles = p_0 * math.exp(10 * LAW[1])
        print(f"  {v_stop:.1f} V: threshold {cycles:9.3g} cycles, {kept:.1f} % after 3e4 cycles")


main()
