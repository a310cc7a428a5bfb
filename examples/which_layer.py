"""Which layer of a network harms it most, and by what; then converters as fine as each layer needs.

python examples/which_layer.py [--quick] [--out which_layer]
"""

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import mho
from example_options import parsed, save_figure
from mho.demo.data import digits
from mho.demo.models import cnn
from mho.plot import layer_errors, style
from mho.train import fit

options = parsed(__doc__, "which_layer", quick="less training, fewer bits to choose from")
quick = options.quick
data = digits(seed=0)
torch.manual_seed(0)
model = cnn()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
epochs = 3 if quick else 8
fit(model, optimizer, (data.train_x, data.train_y), F.cross_entropy, epochs=epochs, label="train")

hardware = mho.Hardware(
    array=mho.Array(wires=mho.circuit.Wires(word=1.0, bit=1.0)),
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=6),
    effects=(
        mho.effects.StuckAt(low=0.002, high=0.002),
        mho.effects.WriteNoise(sigma=0.02),
        mho.effects.PowerLawDrift(nu=0.06, nu_spread=0.02, t0=1.0),
    ),
)
analog = mho.convert(model, hardware, seed=0)
mho.calibrate(analog, data.train_x[:300])
mho.age(analog, seconds=3600.0)
errors = mho.analysis.layers(analog, data.train_x[:100])
print(f"an hour after programming:\n{errors}\n")
worst = errors.worst
print(f"layer {worst.name} harms the outputs most, mostly by {worst.cause}\n")

mho.calibrate(analog, data.train_x[:300])
again = mho.analysis.layers(analog, data.train_x[:100])
print(f"calibrated anew, outputs err by {again.outputs:.1%} instead of {errors.outputs:.1%}\n")

bits = range(4, 8) if quick else range(4, 11)
tuned = mho.tune(model, hardware, data.train_x[:100], error=0.05, bits=bits)
print(f"converters for an error of at most 5 %:\n{tuned}")

with style():
    figure, axes = plt.subplots(2, 1, figsize=(9, 6), layout="constrained")
    drawn = ((errors, "an hour later"), (again, "calibrated anew"))
    for ax, (found, when) in zip(axes, drawn, strict=True):
        layer_errors(found, ax)
        ax.set_title(f"error that each stage adds (%), {when}")
    save_figure(figure, options.out / "layers.png")
