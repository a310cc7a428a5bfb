"""Go through a chip's life and print a digest of all that comes out; for other hash seeds."""

import hashlib
import warnings

import torch

import mho
from mho.chip import Chip
from mho.devices import ExponentialDevice
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import LEA
from mho.train import InSitu

warnings.simplefilter("ignore")
torch.manual_seed(0)
told = []
network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
x = torch.rand(8, 6)
device = ExponentialDevice(c2c=0.05, d2d=0.1)
hardware = mho.Hardware(
    device=device,
    encoding=LEA(copies=2),
    effects=(StuckAt(low=0.05), WriteNoise(0.02), PowerLawDrift(0.05), ReadNoise(0.01)),
    adc=mho.ADC(6),
    dac=mho.DAC(6),
)
optimizer = InSitu(torch.optim.SGD(network.parameters(), 0.1), device, model=network)
for _ in range(3):
    optimizer.zero_grad()
    network(x).square().sum().backward()
    optimizer.step()
told.append(str(optimizer))
model = mho.convert(network, hardware, seed=1).eval()
mho.calibrate(model, x)
told.append(str(mho.program(model)))
chip = Chip(64, 64, hardware, seed=2)
chip.place(model, permute="both")
mho.maintain(model, 100.0, every=50.0)
told += [str(mho.summary(model)), str(mho.estimate(network, hardware, x).converted), repr(hardware)]
told.append(str(mho.analysis.cost(model, x, mho.analysis.chips.generic_22nm())))
told.append(str(mho.study.over_chips(model, lambda chip: float(chip(x).sum()), range(2)).tolist()))
told.append(str(mho.cite(model)))
read = model(x)
digest = hashlib.sha256()
for state in (model.state_dict(), chip.state_dict(), {"read": read.detach()}):
    for key, value in state.items():
        digest.update(key.encode())
        digest.update(value.numpy().tobytes() if torch.is_tensor(value) else repr(value).encode())
for text in told:
    print(hashlib.sha256(text.encode()).hexdigest()[:12])
print(digest.hexdigest()[:12])
