"""Outputs of convolutions lie in memory as those of torch's own layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mho

EIGHT = mho.Hardware(dac=mho.DAC(bits=8), adc=mho.ADC(bits=8))
HARDWARES = {
    "converters": EIGHT,
    "tiles": EIGHT.replace(array=mho.Array(rows=8)),
    "per call": EIGHT.replace(adc=mho.ADC(bits=8, range="per_call")),
    "by vector": EIGHT.replace(dac=mho.DAC(bits=8, range="per_vector")),
    "bit-serial": EIGHT.replace(dac=mho.DAC(bits=4, mode="bit_serial")),
    "bias on the array": EIGHT.replace(bias="array"),
    "ideal, bias on the array": mho.Hardware(bias="array"),
    "ideal": mho.Hardware(),
}
KINDS: dict[str, tuple[Any, int]] = {
    f"{kind}{dims}d": (getattr(nn, f"{kind}{dims}d"), dims)
    for kind in ("Conv", "ConvTranspose")
    for dims in (1, 2, 3)
}
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.mark.parametrize("hardware", HARDWARES.values(), ids=HARDWARES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outputs", [4, 1])
def test_strides_are_those_of_torch(kind: str, hardware: mho.Hardware, outputs: int) -> None:
    layer, dims = KINDS[kind]
    digital = layer(3, outputs, 3)
    x = torch.randn(2, 3, *[5] * dims)
    analog = mho.convert(digital, hardware)
    inputs = [x, x.unsqueeze(-1).repeat(*[1] * x.dim(), 2)[..., 0], x[:0], x[:1], x[0]]
    if dims > 1:
        inputs.append(x.to(memory_format=LAST[dims]))
    for memory in (10**9, 5000):
        mho.limit_memory(analog, memory)
        for train in (True, False):
            analog.train(train)
            for given in inputs:
                expected = digital(given)
                found = analog(given)
                assert found.shape == expected.shape
                if expected.numel():
                    assert found.stride() == expected.stride(), (memory, train, given.stride())


@pytest.mark.parametrize("hardware", HARDWARES.values(), ids=HARDWARES)
@pytest.mark.parametrize("kind", ["Conv2d", "Conv3d", "ConvTranspose2d"])
def test_weights_with_channels_last(kind: str, hardware: mho.Hardware) -> None:
    layer, dims = KINDS[kind]
    digital = layer(3, 4, 3).to(memory_format=LAST[dims])
    x = torch.randn(2, 3, *[5] * dims)
    analog = mho.convert(digital, hardware).eval()
    assert analog(x).stride() == digital(x).stride()


class _Net(nn.Module):
    """As in introductions to torch: two convolutions, two pools, a view."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.last = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        return self.last(x.view(-1, 256))


@pytest.mark.parametrize("hardware", HARDWARES.values(), ids=HARDWARES)
def test_what_follows_may_view(hardware: mho.Hardware) -> None:
    analog = mho.convert(_Net(), hardware)
    for train in (True, False):
        analog.train(train)
        for batch in (1, 4):
            assert analog(torch.randn(batch, 1, 28, 28)).shape == (batch, 10)


def test_one_output_channel_and_then_a_view() -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.MaxPool2d(2), nn.Conv2d(1, 4, 3))
    found = mho.convert(net, EIGHT).eval()(torch.randn(2, 3, 12, 12))
    assert found.view(2, -1).shape == (2, 64)
