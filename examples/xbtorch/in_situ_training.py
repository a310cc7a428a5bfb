"""Training on the cells themselves: an ideal device, a real one, and low-rank gradients.

Every step of the optimizer becomes pulses, and the weights are what the cells hold afterwards.
``AnalyticalIdeal`` answers in straight lines and without noise; ``AnalyticalReal`` is nonlinear,
sets and resets differently, and scatters by 3.5 % of its window at every pulse: a lower learning
rate is fewer pulses and less noise, but gets nowhere if it is too low. Low-rank gradients spare the
memory of a whole gradient beside the array. Each line is the mean of some runs; with noise these
differ by several per cent.

An unmodified program for XBTorch; it runs on mho by

    python -m mho.compat examples/xbtorch/in_situ_training.py [--quick]
"""

import sys
import time

import torch
from digits_data import load, train
from xbtorch.decomposition import SBPCA, TruncatedSVD
from xbtorch.devices import AnalyticalIdeal, AnalyticalReal
from xbtorch.devices.utils import sweep_conductance_full
from xbtorch.nn.utils import test_classifier

QUICK = "--quick" in sys.argv
EPOCHS, SEEDS = (9, 2) if QUICK else (20, 4)


def judge(loaders, lr=0.15, **session):
    """Return accuracies (%) of networks trained by so many seeds, and the seconds taken by one."""
    accuracies, start = [], time.perf_counter()
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = train(loaders[0], EPOCHS, lr, weight_range=(-1, 1), **session)
        accuracies.append(test_classifier(loaders[1], model, "cpu")[0])
    return accuracies, (time.perf_counter() - start) / SEEDS


def show_device(name, device):
    """Print how far a cell is through its window after a quarter, a half, … of all pulses."""
    device.set_c2c_var(0.0)  # the curve itself
    marks = [device.max_level * k // 4 for k in range(5)]
    for way, trace in zip(("set", "reset"), sweep_conductance_full(device), strict=True):
        print(f"  {name:<7} {way:<6}" + "".join(f"{1e9 * trace[k]:7.1f}" for k in marks))


def main():
    loaders = load()
    print("conductance (nS) after 0, 1/4, 1/2, 3/4 and all of the pulses, without noise")
    show_device("ideal", AnalyticalIdeal())
    show_device("real", AnalyticalReal())

    quiet, straight = AnalyticalReal(), AnalyticalReal()
    quiet.set_c2c_var(0.0)
    straight.set_nonlinearity_set(0.0)
    straight.set_nonlinearity_reset(0.0)
    sessions = {
        "no device": {},
        "ideal device": {"device_type": AnalyticalIdeal()},
        "real device": {"device_type": AnalyticalReal()},
        "real device, a third as fast": {"device_type": AnalyticalReal(), "lr": 0.05},
        "real, without noise": {"device_type": quiet},
        "real, but linear": {"device_type": straight},
        "no device, SVD of rank 3": {"decomposition_algorithm": TruncatedSVD(rank=3)},
        "ideal, SVD of rank 3": {
            "device_type": AnalyticalIdeal(),
            "decomposition_algorithm": TruncatedSVD(rank=3),
        },
        "ideal, SBPCA of rank 3": {
            "device_type": AnalyticalIdeal(),
            "decomposition_algorithm": SBPCA(rank=3),
        },
    }
    print(f"\n{EPOCHS} epochs of SGD{'':>11}  accuracy (%): mean, range  seconds")
    for name, session in sessions.items():
        found, seconds = judge(loaders, **session)
        low, mean, high = min(found), sum(found) / SEEDS, max(found)
        print(f"{name:<28}{mean:12.1f}{low:9.1f} to {high:.1f}{seconds:9.1f}")


if __name__ == "__main__":
    main()
