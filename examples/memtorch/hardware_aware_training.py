"""Training with the hardware in view: MemTorch's loop, and mho's noise-aware training beside it.

MemTorch's layers are not trained on their crossbars. Its users train in software, put the network
on crossbars after every epoch, let the devices vary from cycle to cycle, tune, test, and keep the
weights that did best there. mho trains *through* the hardware: every step sees conductances as a
write would leave them. All three are tested alike, by MemTorch's calls, on the same kind of chip.

    python -m mho.compat examples/memtorch/hardware_aware_training.py [--quick]
"""

import copy
import sys
import warnings

import memtorch
import torch
from digits_data import Net, accuracy, load, train
from memtorch.bh.nonideality.DeviceFaults import apply_cycle_variability, apply_device_faults
from memtorch.mn.Module import patch_model
from torch.distributions import Normal

import mho
from mho.devices import Spread
from mho.effects import CycleVariability, StuckAt
from mho.train import NoiseInjection, Recipe

QUICK = "--quick" in sys.argv
R_ON, R_OFF, SIGMA, STUCK = 1e4, 1e5, 0.2, 0.04
CHIPS, EPOCHS = (2, 3) if QUICK else (6, 20)


def on_crossbars(model):
    """Patch a network, let its devices fail and vary, and tune it: one chip."""
    patched = patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params={"r_on": R_ON, "r_off": R_OFF},
        module_parameters_to_patch=[torch.nn.Linear],
        tile_shape=(32, 32),
        max_input_voltage=0.3,
        ADC_resolution=6,
        quant_method="linear",
        verbose=False,
    )
    for layer in (patched.fc1, patched.fc2):
        apply_device_faults(layer, STUCK / 2, STUCK / 2, 0.0)
        apply_cycle_variability(
            layer,
            min=1,
            r_on_kwargs={"loc": R_ON, "scale": SIGMA * R_ON},
            r_off_kwargs={"loc": R_OFF, "scale": SIGMA * R_OFF},
        )
    patched.tune_(tune_kwargs={"<class 'memtorch.mn.Linear.Linear'>": {"input_shape": 500}})
    return patched


def on_chips(model, data):
    """Accuracies (%) on chips of their own."""
    return torch.tensor([accuracy(on_crossbars(model), data) for _ in range(CHIPS)])


class KeepBest:
    """MemTorch's loop: after every epoch test on crossbars; remember the best weights."""

    def __init__(self, data):
        self.data, self.best, self.weights = data, -1.0, None

    def __call__(self, model):
        """Test the model on one chip."""
        found = accuracy(on_crossbars(model), self.data)
        if found > self.best:
            self.best, self.weights = found, copy.deepcopy(model.state_dict())


def through_the_hardware(train_data):
    """Train by mho on the same devices, and return the digital network."""
    spread = CycleVariability(
        r_on=Spread(Normal(R_ON, SIGMA * R_ON), low=1.0),
        r_off=Spread(Normal(R_OFF, SIGMA * R_OFF), low=1.0),
    )
    hardware = mho.Hardware(
        device=mho.devices.VTEAM(r_on=R_ON, r_off=R_OFF),
        array=mho.Array(rows=32, cols=32),
        adc=mho.ADC(bits=6),
        effects=(StuckAt(low=STUCK / 2, high=STUCK / 2), spread),
    )
    recipe = Recipe(NoiseInjection(noise=1.3), ranges="learned", clip=2.5)
    analog = recipe.prepare(Net(), hardware, train_data[0][:500])
    train(analog, train_data, EPOCHS, after_step=recipe.after_step)
    digital, trained = Net(), dict(analog.named_parameters())
    digital.load_state_dict({name: trained[name] for name in digital.state_dict()})
    return digital


def main():
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", message=".*has changed since it was programmed.*")
    train_data, test_data = load()
    keep = KeepBest(train_data)
    software = train(Net(), train_data, EPOCHS, after_epoch=keep)
    selected = Net()
    selected.load_state_dict(keep.weights)
    ways = {
        "in software": software,
        "software, best epoch on crossbars": selected,
        "through the hardware (mho)": through_the_hardware(train_data),
    }
    print(f"{100 * SIGMA:.0f} % spread, {100 * STUCK:.0f} % stuck, 6 bits, {CHIPS} chips each\n")
    print(f"{'trained':<36}{'digital':>9}{'on crossbars':>18}")
    for name, model in ways.items():
        found = on_chips(model, test_data)
        digital = accuracy(model, test_data)
        print(f"{name:<36}{digital:>7.1f} %{found.mean():>10.1f} ± {found.std():.1f} %")


main()
