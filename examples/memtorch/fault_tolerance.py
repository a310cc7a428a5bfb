"""Stuck devices, and what helps: tuning again, committees of chips, more copies of each weight.

Networks on digits with growing proportions of stuck devices. MemTorch's users tune the faulty
layers again, or let several chips vote; mho also spreads every weight over several devices and
makes up for the ones that are known to be stuck when it writes the others.

    python -m mho.compat examples/memtorch/fault_tolerance.py [--quick]
"""

import copy
import sys

import memtorch
import torch
from digits_data import Net, accuracy, load, train
from memtorch.bh.nonideality.NonIdeality import apply_nonidealities
from memtorch.mn.Module import patch_model

import mho
from mho.effects import StuckAt
from mho.encoding import InnerFaultTolerance
from mho.study import over_chips

QUICK = "--quick" in sys.argv
R_ON, R_OFF = 1e4, 1e5
CHIPS = 2 if QUICK else 6
PROPORTIONS = [0.01, 0.05] if QUICK else [0.0, 0.01, 0.02, 0.05, 0.1]


def patch(model):
    patched = patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params={"r_on": R_ON, "r_off": R_OFF},
        module_parameters_to_patch=[torch.nn.Linear],
        tile_shape=(32, 32),
        verbose=False,
    )
    patched.tune_()
    return patched


def faulty(patched, proportion):
    """Half of the faulty devices are stuck at R_on, half at R_off."""
    return apply_nonidealities(
        copy.deepcopy(patched),
        non_idealities=[memtorch.bh.nonideality.NonIdeality.DeviceFaults],
        lrs_proportion=proportion / 2,
        hrs_proportion=proportion / 2,
        electroform_proportion=0.0,
    )


class Committee(torch.nn.Module):
    """Chips that vote: the mean of their logits."""

    def __init__(self, members):
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, x):
        """Return the mean logits."""
        return torch.stack([member(x) for member in self.members]).mean(0)


def tuned(model):
    model.tune_(tune_kwargs={"<class 'memtorch.mn.Linear.Linear'>": {"input_shape": 500}})
    return model


def redundant(model, proportion, data, copies):
    """Mean accuracy (%) of mho's chips with several devices for each weight."""
    hardware = mho.Hardware(
        device=mho.devices.VTEAM(r_on=R_ON, r_off=R_OFF),
        encoding=InnerFaultTolerance(copies=copies),
        effects=(StuckAt(low=proportion / 2, high=proportion / 2),),
    )
    analog = mho.convert(model, hardware, seed=0).eval()
    found = over_chips(analog, lambda chip: accuracy(chip, data), range(CHIPS))
    return float(found.mean())


def main():
    torch.manual_seed(0)
    train_data, test_data = load()
    model = train(Net(), train_data, epochs=5 if QUICK else 30)
    patched = patch(model)

    def mean(make):
        return sum(accuracy(make(), test_data) for _ in range(CHIPS)) / CHIPS

    print(f"digital {accuracy(model, test_data):.1f} %; mean accuracy of {CHIPS} chips (%)\n")
    heads = ("stuck", "as it is", "tuned", "3 vote", "7 vote", "2 copies", "3 copies")
    print("".join(f"{head:>10}" for head in heads))
    for proportion in PROPORTIONS:

        def chip(proportion=proportion):
            return faulty(patched, proportion)

        row = [
            mean(chip),
            mean(lambda chip=chip: tuned(chip())),
            mean(lambda chip=chip: Committee([chip() for _ in range(3)])),
            mean(lambda chip=chip: Committee([chip() for _ in range(7)])),
            redundant(model, proportion, test_data, 2),
            redundant(model, proportion, test_data, 3),
        ]
        print(f"{100 * proportion:>8.0f} %" + "".join(f"{value:>10.1f}" for value in row))


main()
