"""Cells trained in place, stored in the crossbars of a converted model."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mho
from mho.devices import ExponentialDevice
from mho.encoding import Differential, SingleColumn
from mho.hardware import Hardware
from mho.train.on_cells import InSitu
from mho.train.on_cells.layouts import DifferentialPair, MultiCell, SingleCell

DEVICE = ExponentialDevice(
    g_min=1e-6, g_max=100e-6, nonlinearity_set=1.0, nonlinearity_reset=-1.0, c2c=0.01, levels=100
)
PAIRS = [(SingleCell(), SingleColumn()), (DifferentialPair(), Differential())]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3, groups=2)
        self.lstm = nn.LSTM(16, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        h = self.conv(x).flatten(2)
        return self.head(self.lstm(h)[0][:, -1])


def trained(layout, encoding, **hardware):
    model = mho.convert(Net(), Hardware(device=DEVICE, encoding=encoding, **hardware))
    opt = InSitu(torch.optim.SGD(model.parameters(), lr=0.5), DEVICE, layout=layout, model=model)
    source = torch.Generator().manual_seed(1)
    x = torch.randn(20, 2, 6, 6, generator=source)
    y = torch.randint(0, 2, (20,), generator=source)
    for _ in range(5):
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        opt.step()
    return model, opt, x


@pytest.mark.parametrize(("layout", "encoding"), PAIRS, ids=["single", "pair"])
def test_crossbars_hold_the_very_conductances(layout, encoding):
    model, opt, x = trained(layout, encoding)
    opt.store(model)
    trained_g = torch.cat([held.weights.cells.g.flatten() for held in opt.held.values()])
    stored = torch.cat(
        [
            (bar.G[..., :-1] if layout == SingleCell() else bar.G).flatten()
            for layer in mho.layers(model).values()
            for bar in layer.crossbars.values()
        ]
    )
    assert torch.equal(trained_g.sort().values, stored.sort().values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is stale
        read = model.eval()(x)
    digital = Net()
    digital.load_state_dict(
        {
            k: v
            for k, v in model.state_dict().items()
            if k in {n for n, _ in Net().named_parameters()}
        }
    )
    torch.testing.assert_close(read, digital(x), rtol=1e-4, atol=1e-5)
    # Each weight stands where the layer looks for it.
    bar = model.head.crossbars["crossbar"]
    torch.testing.assert_close(bar.weight, model.head.weight.T, rtol=0, atol=1e-6)


def test_what_does_not_fit_is_said():
    model, opt, _ = trained(SingleCell(), Differential())
    before = model.head.crossbars["crossbar"].G.clone()
    with pytest.raises(ValueError, match="SingleCell needs SingleColumn"):
        opt.store(model)
    assert torch.equal(before, model.head.crossbars["crossbar"].G)
    model, opt, _ = trained(MultiCell(2), SingleColumn())
    with pytest.raises(ValueError, match="no encoding holds weights as"):
        opt.store(model)
    model, opt, _ = trained(SingleCell(), SingleColumn(), bias="array")
    with pytest.raises(ValueError, match="not all of its matrix lives on cells"):
        opt.store(model)
    other = mho.convert(
        Net(), Hardware(device=DEVICE.replace(g_max=90e-6), encoding=SingleColumn())
    )
    small = InSitu(torch.optim.SGD(other.parameters(), lr=0.5), DEVICE, model=other)
    with pytest.raises(ValueError, match="window is"):
        small.store(other)
    with pytest.raises(ValueError, match=r"no crossbar of this model holds 'conv.weight'"):
        small.store(Net())
