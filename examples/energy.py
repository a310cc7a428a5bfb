"""What an inference costs: energy against accuracy over the ADC's resolution, and where it goes.

python examples/energy.py [--quick] [--out energy]
"""

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import mho
from example_options import parsed
from mho.analysis import chips, cost
from mho.demo.data import digits
from mho.demo.models import cnn
from mho.plot import cost_breakdown, style
from mho.train import fit

options = parsed(__doc__, "energy", quick="less training, every other resolution")
folder = options.out
data = digits(seed=0)
torch.manual_seed(0)
model = cnn()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
fit(
    model,
    optimizer,
    (data.train_x, data.train_y),
    F.cross_entropy,
    epochs=3 if options.quick else 8,
    label="training",
)

# A chip that nobody built, of published circuits: all of it is counted, much is assumed.
chip = chips.get("generic_22nm")
print(f"{'ADC bits':>8}{'accuracy':>10}{'energy of an inference':>26}{'latency':>12}")
for bits in (4, 6, 8) if options.quick else (4, 5, 6, 7, 8, 9):
    hardware = mho.Hardware(
        dac=mho.DAC(bits=8),
        adc=mho.ADC(bits=bits),
        effects=(mho.effects.WriteNoise(0.02), mho.effects.ReadNoise(0.005)),
    )
    analog = mho.convert(model, hardware)
    mho.calibrate(analog, data.train_x[:300])
    accuracy = float((analog(data.test_x).argmax(1) == data.test_y).float().mean())
    found = cost(analog, data.test_x[:100], chip)
    low, high = 1e9 * found.energy.low, 1e9 * found.energy.high
    latency = f"{1e6 * found.objective('latency'):.1f} µs"
    print(f"{bits:>8}{100 * accuracy:>8.1f} %{f'{low:.1f} … {high:.1f} nJ':>26}{latency:>12}")
    if bits == 8:
        eight = found

print(f"\nwith eight bits, {eight}")
with style():
    ax = cost_breakdown(eight)
    ax.set_title("energy of an inference, 8-bit ADCs")
    ax.figure.savefig(folder / "cost.png")
plt.close("all")
print(f"\n{folder}/cost.png")
