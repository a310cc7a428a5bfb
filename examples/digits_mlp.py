"""The whole life of a network on crossbars: train, convert, calibrate, program, age, collapse.

python examples/digits_mlp.py [--quick] [--out digits_mlp]
"""

import torch
from sklearn.datasets import load_digits

import mho
from example_options import bars, parsed

options = parsed(__doc__, "digits_mlp", quick="the same: it takes seconds")
torch.manual_seed(0)
x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
order = torch.randperm(len(x))
x, y = x[order].float() / 16, y[order]
train_x, train_y, test_x, test_y = x[:1347], y[:1347], x[1347:], y[1347:]


def train(model, steps):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(train_x), train_y).backward()
        optimizer.step()
    model.eval()


found = {}


def show(what, model):
    found[what] = 100 * float((model(test_x).argmax(1) == test_y).float().mean())
    print(f"{what:<28}{found[what]:.1f} %")


model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
train(model, steps=200)
show("plain PyTorch", model)

hardware = mho.Hardware(
    device=mho.devices.LinearDevice(g_min=1e-6, g_max=100e-6),  # siemens
    array=mho.Array(rows=64, cols=64),
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=6),
    effects=(
        mho.effects.StuckAt(low=0.005, high=0.005),  # fabrication
        mho.effects.WriteNoise(sigma=0.1),  # programming
        mho.effects.PowerLawDrift(nu=0.06, nu_spread=0.02),  # aging
        mho.effects.ReadNoise(sigma=0.01),  # reading
    ),
)
analog = mho.convert(model, hardware, seed=0)  # a new model, already programmed
mho.calibrate(analog, train_x[:200])  # converter ranges and output correction
show("on crossbars", analog)

train(analog, steps=300)  # any loop trains through the hardware
for name, report in mho.program(analog).items():  # write the new weights to the chip
    print(f"  {name}: {report}")
mho.calibrate(analog, train_x[:200])
show("trained for its hardware", analog)

mho.age(analog, seconds=86_400)
show("a day later", analog)
mho.calibrate(analog, train_x[:200])
show("a day later, recalibrated", analog)
show("as a plain model again", mho.collapse(analog))

print(f"\n{mho.summary(analog)}")
bars(found, options.out / "digits_mlp.png", "test accuracy (%)")
