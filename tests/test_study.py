import pytest
import torch
from torch import nn

import mho
from mho.study import over_chips
from mho.study.chips import torch_threads

HARDWARE = mho.Hardware(
    array=mho.Array(rows=8, cols=8),
    adc=mho.ADC(bits=6),
    effects=(mho.effects.WriteNoise(sigma=0.05), mho.effects.ReadNoise(sigma=0.01)),
)


@pytest.fixture
def analog():
    torch.manual_seed(0)
    return mho.convert(nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)), HARDWARE).eval()


def outputs(chip):
    return chip(torch.linspace(-1, 1, 24).reshape(2, 12))


def test_a_chip_is_what_fabricate_makes(analog):
    found = over_chips(analog, outputs, [5, 6])
    assert found.shape == (2, 2, 3)
    mho.fabricate(analog, 6)
    assert torch.equal(found[1], outputs(analog).detach().double())


def test_a_chip_does_not_depend_on_the_others(analog):
    together = over_chips(analog, outputs, [1, 2, 3])
    assert torch.equal(together[2], over_chips(analog, outputs, [3])[0])
    assert not torch.equal(together[0], together[1])


def test_the_model_is_left_alone(analog):
    before = {key: torch.clone(v) for key, v in analog.state_dict().items() if torch.is_tensor(v)}

    def spoil(chip):
        mho.calibrate(chip, torch.ones(4, 12))
        mho.age(chip, 1e6)
        with torch.no_grad():
            chip[0].weight.zero_()
        return 0.0

    assert over_chips(analog, spoil, range(3)).tolist() == [0.0, 0.0, 0.0]
    after = analog.state_dict()
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0, equal_nan=True)


def test_workers_make_the_same_chips(analog):
    with torch_threads(1):
        alone = over_chips(analog, outputs, range(6))
    threads = torch.get_num_threads()
    assert torch.equal(over_chips(analog, outputs, range(6), workers=3), alone)
    assert torch.get_num_threads() == threads


def test_spread_of_chips_is_that_of_the_effect():
    # One ideal weight of 1 on a pair with g_min = 0: its error is the sum of two normals, the one
    # at rest cut at 0 S. Mean of the cut one: σ/√(2π).
    hardware = mho.Hardware(
        device=mho.devices.LinearDevice(g_min=0.0, g_max=1e-4),
        effects=(mho.effects.WriteNoise(sigma=0.02),),
    )
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    model = mho.convert(nn.Sequential(layer), hardware).eval()
    n = 400
    found = over_chips(model, lambda chip: chip(torch.ones(1, 1)).item(), range(n))
    sigma = 0.02
    mean = 1 - sigma / (2 * torch.pi) ** 0.5
    variance = sigma**2 * (1 + 0.5 - 0.5 / torch.pi)
    assert abs(found.mean() - mean) < 4 * (variance / n) ** 0.5
    assert abs(found.var() - variance) < 4 * variance * (2 / n) ** 0.5


def test_refusals(analog):
    with pytest.raises(ValueError, match="at least one seed"):
        over_chips(analog, outputs, [])
    with pytest.raises(ValueError, match="every seed"):
        over_chips(analog, outputs, [-1])
    with pytest.raises(ValueError, match="workers"):
        over_chips(analog, outputs, [0], workers=0)
    with pytest.raises(ValueError, match="no crossbar layers"):
        over_chips(nn.Linear(2, 2), outputs, [0])
    sizes = iter([1, 2])
    with pytest.raises(ValueError, match="one shape"):
        over_chips(analog, lambda _: torch.zeros(next(sizes)), [0, 1])
