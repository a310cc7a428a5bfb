# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: crossbars, tiles and lines by hand.

No network here: arrays made, written, read and cut into tiles with the functions below the layers,
the drop along resistive lines, converters, windows and the loops of all models.
"""

import copy
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import memtorch
import numpy as np
import torch
from memtorch.bh.crossbar.Crossbar import Crossbar, Scheme, init_crossbar, simulate_matmul
from memtorch.bh.crossbar.Passive import solve_passive
from memtorch.bh.crossbar.Program import gen_programming_signal, naive_program
from memtorch.bh.crossbar.Tile import Tile, gen_tiles, tile_matmul, tile_matmul_row, tiled_inference
from memtorch.bh.memristor.window import Biolek, Jogelkar, Prodromakis
from memtorch.bh.Quantize import quant_methods, quantize
from memtorch.bh.StochasticParameter import Dict2Obj, StochasticParameter, unpack_parameters
from memtorch.map.Parameter import naive_map
from memtorch.utils import convert_range, pad_tensor

np.random.seed(0)
torch.manual_seed(0)
R_ON, R_OFF = 1e3, 1e5
params = {"time_series_resolution": 1e-10, "r_off": R_OFF, "r_on": R_ON}

# 1. A matrix by hand: two crossbars and the operation between them.
weights = torch.randn(20, 30)
inputs = torch.rand(7, 30) * 0.3
crossbars, operation = init_crossbar(
    weights=weights,
    memristor_model=memtorch.bh.memristor.VTEAM,
    memristor_model_params=params,
    transistor=True,
    mapping_routine=naive_map,
    programming_routine=None,
    scheme=Scheme.DoubleColumn,
    tile_shape=None,
)
exact = inputs @ weights.T
scale = (1 / R_ON - 1 / R_OFF) / weights.abs().max()
linear = operation(
    crossbars,
    lambda crossbar, input: torch.matmul(input, crossbar.conductance_matrix),
    input=inputs,
)
print("matrix %.1e" % ((linear / scale - exact).abs().max()))
read = operation(
    crossbars, lambda crossbar, input: simulate_matmul(input, crossbar, nl=False), input=inputs
)
print("devices %.1e" % ((read / scale - exact).abs().max()))
for bits in np.arange(4, 13, 4):
    out = operation(
        crossbars,
        lambda crossbar, input: simulate_matmul(
            input,
            crossbar,
            nl=False,
            ADC_resolution=bits,
            ADC_overflow_rate=0.0,
            quant_method=quant_methods[0],
        ),
        input=inputs,
    )
    print("bits %d rms %.3e" % (bits, (out - linear).std()))

# 2. The same in tiles.
crossbars, operation = init_crossbar(
    weights, memtorch.bh.memristor.VTEAM, params, True, naive_map, None, tile_shape=(8, 16)
)
c = crossbars[0]
print(
    "tiles", tuple(c.conductance_matrix.shape), c.devices.shape, (c.rows, c.columns), c.tile_shape
)
tiles, tiles_map = gen_tiles(inputs, (8, 16), input=True)
out = operation(
    crossbars,
    lambda crossbar: tile_matmul(
        tiles,
        tiles_map,
        inputs.shape,
        crossbar.conductance_matrix,
        crossbar.tiles_map,
        (crossbar.rows, crossbar.columns),
    ),
)
print("tiled %.1e" % ((out / scale - exact).abs().max()))
out = operation(
    crossbars,
    lambda crossbar, input: simulate_matmul(
        input,
        crossbar,
        nl=False,
        tiles_map=crossbar.tiles_map,
        crossbar_shape=(crossbar.rows, crossbar.columns),
    ),
    input=inputs,
)
print("tiled devices %.1e" % ((out / scale - exact).abs().max()))
row = tile_matmul_row(
    tiles[:, 2], tiles_map, c.conductance_matrix, c.tiles_map, (c.rows, c.columns)
)
print(
    "row %.1e"
    % (
        row
        - (
            tile_matmul(
                tiles,
                tiles_map,
                inputs.shape,
                c.conductance_matrix,
                c.tiles_map,
                (c.rows, c.columns),
            )[2]
        )
    )
    .abs()
    .max()
)
layer = memtorch.mn.Linear(
    torch.nn.Linear(30, 20, bias=False),
    memtorch.bh.memristor.VTEAM,
    params,
    tile_shape=(8, 16),
    verbose=False,
)
slope = tiled_inference(inputs, layer, transistor=True) / (inputs @ layer.weight.T)
print("inference constant %.1e" % (slope.std() / slope.mean()))
padded = pad_tensor(weights, (8, 16))
tile = Tile(tile_shape=(8, 16), patch_num=None)
tile.update_array(weights[16:, 16:])
print(
    "padded",
    tuple(padded.shape),
    bool((padded[20:] == 0).all()),
    bool(tile.array.sum().isclose(weights[16:, 16:].sum())),
)

# 3. Lines with resistance: the further, the lower; no resistance, no drop.
conductances = torch.full((16, 16), 1 / R_ON)
voltages, ground = torch.ones(16), torch.zeros(16)
ideal = (voltages @ conductances)[0].item()
drops = []
for r in np.logspace(-2, 1, 4):
    currents = solve_passive(conductances, voltages, ground, R_source=float(r), R_line=r)
    drops.append(1 - currents.sum().item() / (16 * ideal))
print("drop", " ".join("%.4f" % d for d in drops), "rises", bool(np.all(np.diff(drops) > 0)))
currents = solve_passive(conductances, voltages, ground, 1, 1).numpy()
print("columns monotone", bool(np.all(np.diff(currents) < 0) or np.all(np.diff(currents) > 0)))
cells = solve_passive(conductances, voltages, ground, 1.0, 1.0, det_readout_currents=False)
print("kirchhoff %.1e" % abs(((cells * conductances).sum() / currents.sum()) - 1))
print(
    "no drop %.1e"
    % abs(solve_passive(conductances, voltages, ground, 1e-6, 1e-6).sum().item() / (16 * ideal) - 1)
)
batch = solve_passive(
    conductances, torch.rand(3, 16), torch.zeros(3, 16), 1.0, 1.0, n_input_batches=3
)
print("batch", tuple(batch.shape))

# 4. Converters: numbers of levels, worst error, NumPy's numbers.
signal = torch.linspace(-1, 1, 4001)
for bits in np.array([3, 5, 8]):
    q = quantize(signal, bits, quant_method="linear")
    print(
        "quantize bits %d levels %d error %.4f"
        % (bits, len(np.unique(q.numpy())), (q - signal).abs().max())
    )
q = quantize(signal, np.int64(16), min=np.float32(-0.5), max=np.float32(0.5))
print("levels %d from %.2f to %.2f" % (len(q.unique()), q.min(), q.max()))
print(
    "integers %d levels" % len(quantize(torch.arange(9), 4).unique()),
    [str(m) for m in quant_methods][:2],
)
original = signal.clone()
quantize(original, 4, quant_method="linear", override_original=True)
print("overridden", not torch.equal(original, signal))

# 5. Windows are zero at their bounds and one in the middle; Biolek's depends on the direction.
x = np.linspace(0, 1, 11)
print("Jogelkar", np.round([Jogelkar(v, 2) for v in (0.0, 0.5, 1.0)], 6))
print("Prodromakis", np.round([Prodromakis(v, p=1, j=1.0) for v in (0.0, 0.5, 1.0)], 6))
print(
    "Biolek",
    np.round([Biolek(1.0, 1.0), Biolek(-1.0, 1.0), Biolek(1.0, 0.0), Biolek(-1.0, 0.0)], 6),
)
plt.plot(x, np.vectorize(lambda v: Jogelkar(v, p=4))(x), x, [Biolek(0.5, v, 2) for v in x])
plt.savefig("windows.png")
plt.close("all")

# 6. Loops of all models are pinched: no voltage, no current; and they are loops.
for model in [
    memtorch.bh.memristor.LinearIonDrift,
    memtorch.bh.memristor.VTEAM,
    memtorch.bh.memristor.Stanford_PKU,
    memtorch.bh.memristor.Data_Driven,
    memtorch.bh.memristor.Data_Driven2021,
]:
    device = model()
    voltage, current = device.plot_hysteresis_loop(return_result=True)
    voltage, current = np.array(voltage), np.array(current)
    at_zero = np.abs(current[np.abs(voltage) < 1e-6]).max()
    area = abs(np.sum(0.5 * (current[1:] + current[:-1]) * np.diff(voltage)))
    energy = np.sum(voltage * current)
    print(
        "%s pinched %.1e loop %s passive %s"
        % (model.__name__, at_zero / np.abs(current).max(), area > 0, bool(energy > 0))
    )
    device.plot_bipolar_switching_behaviour()
    plt.savefig(model.__name__ + ".png")
    plt.close("all")
fresh = memtorch.bh.memristor.VTEAM()
iv = np.array([fresh.current(v) for v in np.linspace(-0.2, 0.2, 5)])
print(
    "ohm %.1e" % np.abs(iv - fresh.g * np.linspace(-0.2, 0.2, 5)).max(),
    np.allclose(iv, fresh.current(np.linspace(-0.2, 0.2, 5))),
)

# 7. Programming signals and stochastic parameters.
t, v = gen_programming_signal(3, 1e-3, 2e-3, -1.5, 1e-4)
print("pulses area %.6f duration %.6f" % (np.sum(v) * 1e-4, len(t) * 1e-4))
draws = [
    StochasticParameter(loc=np.float32(100), scale=np.float32(10), min=0, function=False)
    for _ in range(400)
]
print("draws mean %.1f std %.1f" % (np.mean(draws), np.std(draws)))


def device_parameters(
    r_on=StochasticParameter(torch.distributions.uniform.Uniform, low=50.0, high=60.0),
    r_off=1000,
    **kwargs,
):
    return unpack_parameters(locals())


args = device_parameters(extra=3)
print("unpacked", 50 <= args.r_on <= 60, args.r_off, Dict2Obj({"a": 1}).a)
same = [device_parameters(reference=True).r_on for _ in range(2)]
print("reference", float(same[0]) == float(same[1]) == 55.0)
print("range", convert_range(np.array([0.0, 0.5]), 0, 1, -1, 1))
