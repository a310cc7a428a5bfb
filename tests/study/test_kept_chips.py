"""Chips, accuracies and landscapes that are kept, and failures that lose no other chip."""

from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from torch import nn

import mho
from mho.analysis import landscape, random_direction
from mho.study import FailedChipsError, accuracy, over_chips
from small_studies import FORK

HARDWARE = mho.Hardware(
    array=mho.Array(rows=8, cols=8),
    adc=mho.ADC(bits=6),
    effects=(mho.effects.WriteNoise(sigma=0.05), mho.effects.ReadNoise(sigma=0.01)),
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


@pytest.fixture
def analog(model):
    return mho.convert(model, HARDWARE).eval()


class Outputs:
    """What chips give; it fails at one of them, once."""

    def __init__(self, fails_at=None):
        self.calls, self.fails_at = 0, fails_at

    def __call__(self, chip):
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("no light")
        return chip(torch.linspace(-1, 1, 24).reshape(2, 12))


@pytest.mark.filterwarnings("ignore:the chip of seed")
def test_a_failing_chip_loses_no_other(analog):
    whole = over_chips(analog, Outputs(), range(5))
    with pytest.raises(FailedChipsError, match=r"1 of 5 chips failed \(seed 3: Run") as error:
        over_chips(analog, Outputs(fails_at=4), range(5))
    assert sorted(error.value.found) == [0, 1, 2, 4]
    assert torch.equal(error.value.found[4], whole[4])
    with pytest.raises(RuntimeError, match=r"^no light$"):
        over_chips(analog, Outputs(fails_at=1), [0])


@pytest.mark.filterwarnings("ignore:the chip of seed")
@pytest.mark.parametrize("name", ["chips.journal", "chips.db"])
def test_kept_chips_are_not_made_again(analog, tmp_path, name):
    whole = over_chips(analog, Outputs(), range(5))
    outputs = Outputs(fails_at=4)
    with pytest.raises(FailedChipsError, match="kept in the store"):
        over_chips(analog, outputs, range(5), store=tmp_path / name)
    found = over_chips(analog, outputs, range(5), store=tmp_path / name)
    assert torch.equal(found, whole)
    assert outputs.calls == 6  # the one that failed, twice
    assert torch.equal(over_chips(analog, outputs, range(5), store=tmp_path / name), whole)
    assert outputs.calls == 6


def test_values_that_are_not_finite_or_none_at_all_are_kept(analog, tmp_path):
    odd = torch.tensor([[float("nan"), float("inf")], [-0.0, 1 / 3]])
    for values in (odd, torch.zeros(2, 0), torch.tensor(0.5)):
        given = {"store": tmp_path / "s.journal", "name": str(list(values.shape))}
        for _ in range(2):
            found = over_chips(analog, lambda chip, values=values: values, [1, 2], **given)
            expected = values.double().expand(2, *values.shape)
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_another_model_or_other_seeds_are_another_study(analog, model, tmp_path):
    given = {"store": tmp_path / "s.journal"}
    over_chips(analog, Outputs(), [1, 2], **given)
    with pytest.raises(ValueError, match="holds another study 'chips': seeds"):
        over_chips(analog, Outputs(), [1, 3], **given)
    with torch.no_grad():
        model[0].weight.mul_(1.5)
    with pytest.raises(ValueError, match="holds another study 'chips': model"):
        over_chips(mho.convert(model, HARDWARE).eval(), Outputs(), [1, 2], **given)


def test_processes_make_the_same_chips(analog):
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        found = over_chips(analog, Outputs(), range(4), executor=pool)
    assert torch.equal(found, over_chips(analog, Outputs(), range(4)))


def test_accuracies_are_kept(model, tmp_path):
    x = torch.randn(60, 12)
    hardware = HARDWARE.replace(effects=(mho.effects.PowerLawDrift(nu=0.05),))
    given = {"calibration": x[:20], "seeds": [0, 1], "times": [0.0, 1e5]}
    plain = accuracy(model, hardware, x, model(x).argmax(1), **given)
    for _ in range(2):
        kept = accuracy(
            model, hardware, x, model(x).argmax(1), store=tmp_path / "s.journal", **given
        )
        for part in ("chips", "recalibrated", "ideal"):
            assert torch.equal(getattr(kept, part), getattr(plain, part))
    with pytest.raises(ValueError, match=r"given\.times"):
        accuracy(
            model, hardware, x, model(x).argmax(1), store=tmp_path / "s.journal",
            **{**given, "times": [0.0, 1e6]},
        )  # fmt: skip


def test_landscapes_are_kept(analog, tmp_path):
    x, y = torch.randn(20, 12), torch.randint(3, (20,))
    ways = [random_direction(analog, seed=i) for i in range(2)]
    given = {"span": 0.5, "points": 3, "chips": [0, 4]}
    plain = landscape(analog, nn.functional.cross_entropy, (x, y), ways, **given)
    # One chip, written point by point, as landscapes were before studies kept anything.
    chip = mho.convert(analog, HARDWARE).eval()
    mho.fabricate(chip, 4)
    origin = {name: p.detach().clone() for name, p in analog.named_parameters()}
    with torch.no_grad():
        for name, p in chip.named_parameters():
            p.copy_(origin[name] - 0.5 * ways[0][name] - 0.5 * ways[1][name])
        mho.program(chip)
        corner = nn.functional.cross_entropy(chip(x), y)
    assert plain.loss[1, 0, 0] == corner
    assert plain.loss.dtype == torch.float32
    for _ in range(2):
        kept = landscape(
            analog, nn.functional.cross_entropy, (x, y), ways, store=tmp_path / "s.db", **given
        )
        assert torch.equal(kept.loss, plain.loss)
    with pytest.raises(ValueError, match="of chips"):
        landscape(analog, nn.functional.cross_entropy, (x, y), ways[:1], workers=2)
