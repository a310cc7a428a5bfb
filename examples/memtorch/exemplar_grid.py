"""MemTorch's exemplar simulations, all at once: what non-idealities cost together.

A network on digits, patched onto VTEAM crossbars (tiles of 32 x 32), for every combination of
device-to-device variability (standard deviation of R_on and R_off, relative), number of finite
conductance states, proportion of faulty devices, and bits of the converters. Prints a table and
saves ``exemplar_grid.png``.

    python -m mho.compat examples/memtorch/exemplar_grid.py [--quick] [--out DIRECTORY]
"""

import argparse
import copy
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import memtorch
import numpy as np
import torch
from digits_data import Net, accuracy, load, train
from memtorch.bh.nonideality.NonIdeality import apply_nonidealities
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model

R_ON, R_OFF = 1e4, 1e5
NonIdeality = memtorch.bh.nonideality.NonIdeality


def patch(model, sigma, bits):
    spread = memtorch.bh.StochasticParameter
    return patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params={
            "time_series_resolution": 1e-10,
            "r_on": spread(loc=R_ON, scale=sigma * R_ON, min=1) if sigma else R_ON,
            "r_off": spread(loc=R_OFF, scale=sigma * R_OFF, min=1) if sigma else R_OFF,
        },
        module_parameters_to_patch=[torch.nn.Linear],
        mapping_routine=naive_map,
        transistor=True,
        scheme=memtorch.bh.Scheme.DoubleColumn,
        tile_shape=(32, 32),
        max_input_voltage=0.3,
        ADC_resolution=bits,
        ADC_overflow_rate=0.0,
        quant_method="linear",
        verbose=False,
    )


def trial(model, test_data, sigma, states, faults, bits):
    """Return the accuracy (%) of one chip."""
    patched = apply_nonidealities(
        patch(model, sigma, bits),
        non_idealities=[NonIdeality.FiniteConductanceStates, NonIdeality.DeviceFaults],
        conductance_states=states,
        lrs_proportion=faults / 2,
        hrs_proportion=faults / 4,
        electroform_proportion=faults / 4,
    )
    patched.tune_(tune_kwargs={"<class 'memtorch.mn.Linear.Linear'>": {"input_shape": 500}})
    return accuracy(patched, test_data)


def draw(found, axes, path):
    sigmas, states, faults, bits = axes
    size = (2.6 * len(faults) + 1, 2.4 * len(sigmas))
    figure, panels = plt.subplots(len(sigmas), len(faults), figsize=size, layout="constrained")
    for (i, sigma), (k, fault) in itertools.product(enumerate(sigmas), enumerate(faults)):
        ax = panels[i, k]
        image = ax.imshow(found[i, :, k], vmin=10, vmax=100, cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(found[i, :, k]):
            colour = "white" if value < 60 else "black"
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour)
        ax.set_xticks(range(len(bits)), [str(b) for b in bits])
        ax.set_yticks(range(len(states)), [str(s) for s in states])
        ax.set_title(f"spread {100 * sigma:.0f} %, faults {100 * fault:.0f} %", fontsize=9)
    figure.supxlabel("bits of the converters")
    figure.supylabel("conductance states")
    figure.colorbar(image, ax=panels, label="test accuracy (%)", shrink=0.6)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a grid of sixteen")
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args()
    torch.manual_seed(0)
    train_data, test_data = load()
    model = train(Net(), train_data, epochs=5 if options.quick else 30)
    axes = ([0.0, 0.1, 0.3], [4, 8, 32], [0.0, 0.01, 0.05], [3, 4, 8])
    chips = 1 if options.quick else 2
    if options.quick:
        axes = tuple(values[::2] for values in axes)
    sigmas, states, faults, bits = axes
    found = np.zeros([len(values) for values in axes])
    for index in np.ndindex(found.shape):
        values = [axis[i] for axis, i in zip(axes, index, strict=True)]
        found[index] = np.mean([trial(model, test_data, *values) for _ in range(chips)])
    print(f"digital {accuracy(model, test_data):.1f} %; on crossbars, mean of {chips} chips (%):\n")
    print(f"{'spread':>7}{'states':>8}{'faults':>8} |" + "".join(f"{b:>6} bit" for b in bits))
    for i, j, k in np.ndindex(found.shape[:3]):
        head = f"{100 * sigmas[i]:>5.0f} %{states[j]:>8}{100 * faults[k]:>6.0f} % |"
        print(head + "".join(f"{value:>10.1f}" for value in found[i, j, k]))
    options.out.mkdir(parents=True, exist_ok=True)
    draw(found, axes, options.out / "exemplar_grid.png")
    print(f"\n{options.out / 'exemplar_grid.png'}")


main()
