"""A chip in service: saved and resumed with its models, whose cells are the chip's all along."""

import copy
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.distributions import Normal

import mho
from mho import Crossbar, Hardware
from mho.chip import Chip
from mho.devices import PCM, LinearDevice, Spread
from mho.effects import FailureLaw, PowerLawDrift, ReadNoise, Retention, StuckAt
from mho.encoding import LEA

STUCK = StuckAt(0.05, 0.05)
HARDWARE = {
    "drift": Hardware(effects=(STUCK, PowerLawDrift(0.05, 0.02))),
    "pcm": Hardware(device=PCM(), effects=(STUCK,)),
    "pcm and drift": Hardware(device=PCM(), effects=(STUCK, PowerLawDrift(0.05, 0.02))),
    "retention": Hardware(
        effects=(STUCK, Retention(lrs=FailureLaw(1e2, p3=0.1), hrs=FailureLaw(1e2, p3=-0.05)))
    ),
    "spread": Hardware(
        device=LinearDevice(g_max=Spread(Normal(1e-4, 5e-6), low=5e-5)),
        effects=(STUCK, ReadNoise(0.01)),
    ),
    "lea": Hardware(encoding=LEA(copies=2), effects=(STUCK,)),
}
X = torch.linspace(-1.0, 1.0, 32).view(4, 8)


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


def placed(hardware, seed=1, permute=None):
    chip, model = Chip(40, 40, hardware, seed=seed), mho.convert(net(), hardware, seed=2)
    chip.place(model, name="a", permute=permute)
    return chip, model


def bars(model):
    return mho.crossbars(model).values()


def same(one, other):
    """Whether two chips and their models are in one and the same state."""
    (chip, model), (twin, second) = one, other
    return (
        torch.equal(chip.G, twin.G)
        and torch.equal(chip.wear, twin.wear)
        and torch.equal(chip.stuck, twin.stuck)
        and chip.regions == twin.regions
        and all(
            torch.equal(a.G, b.G) and torch.equal(a.stuck, b.stuck) and a.seconds == b.seconds
            for a, b in zip(bars(model), bars(second), strict=True)
        )
    )


@pytest.mark.parametrize("order", ["chip first", "model first"])
@pytest.mark.parametrize("permute", [None, "both"])
@pytest.mark.parametrize("name", list(HARDWARE))
def test_a_chip_and_its_model_go_on_as_if_nothing_had_been(name, permute, order):
    hardware = HARDWARE[name]
    chip, model = placed(hardware, permute=permute)
    mho.program(model)
    mho.age(model, 1e3)
    saved = copy.deepcopy((chip.state_dict(), model.state_dict()))
    twin, second = Chip(40, 40, hardware, seed=7), mho.convert(net(3), hardware, seed=77)
    loads = [lambda: twin.load_state_dict(saved[0]), lambda: second.load_state_dict(saved[1])]
    for load in loads if order == "chip first" else loads[::-1]:
        load()
    twin.join(second)
    assert same((chip, model), (twin, second))
    assert all(bar.on_chip and bar.injection.own_cells for bar in bars(second))
    with torch.no_grad():
        assert torch.equal(model(X), second(X))
    for one, other in ((chip, model), (twin, second)):
        one.age(1e4)
        mho.age(other, 3e4)
    assert same((chip, model), (twin, second))
    for one, other in ((chip, model), (twin, second)):
        one.program(other)
        one.age(1e4)
    assert same((chip, model), (twin, second))
    assert int(twin.wear.max()) == 3


SCRIPT = """
import sys
import torch
from torch import nn
import mho
from mho.chip import Chip
folder = sys.argv[1]
hardware = mho.load_hardware(folder + "/chip.yaml")
chip = Chip(40, 40, hardware, seed=5)
model = mho.convert(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), hardware, seed=6)
model.load_state_dict(torch.load(folder + "/model.pt", weights_only=True))
chip.load_state_dict(torch.load(folder + "/board.pt", weights_only=True))
chip.age(500.0) if chip.join(model) else None
chip.program(model)
chip.age(1e4)
torch.save({"G": chip.G, "wear": chip.wear, "y": model.eval()(torch.ones(2, 8)).detach()},
           folder + "/found.pt")
"""


@pytest.mark.slow
def test_a_new_process_goes_on(tmp_path):
    hardware = HARDWARE["pcm and drift"]
    chip, model = placed(hardware, permute="both")
    chip.age(1e3)
    mho.save_hardware(hardware, tmp_path / "chip.yaml")
    torch.save(chip.state_dict(), tmp_path / "board.pt")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    chip.age(500.0)
    chip.program(model)
    chip.age(1e4)
    assert torch.equal(found["G"], chip.G)
    assert torch.equal(found["wear"], chip.wear)
    assert torch.equal(found["y"], model(torch.ones(2, 8)).detach())


@pytest.mark.parametrize("name", list(HARDWARE))
def test_a_model_in_service_goes_back_to_an_earlier_hour_of_its_cells(name):
    """Its own checkpoint gives back what the cells held; the pulses in between stay counted."""
    chip, model = placed(HARDWARE[name])
    mho.age(model, 1e3)
    saved, (_, past) = copy.deepcopy(model.state_dict()), copy.deepcopy((chip, model))
    mho.age(model, 1e5)
    mho.program(model)
    mho.age(model, 10.0)
    model.load_state_dict(saved)
    assert int(chip.wear.max()) == 2
    for _ in range(2):
        for bar, old, regions in zip(bars(model), bars(past), chip.regions.values(), strict=True):
            assert torch.equal(bar.G, old.G)
            assert bar.seconds == old.seconds
            held = torch.stack([region.of(chip.G) for region in regions])
            assert torch.equal(held, bar.G)
        mho.age(model, 1e4)
        mho.age(past, 1e4)


def test_a_chip_goes_back_with_the_models_on_it():
    hardware = HARDWARE["drift"]
    chip, model = placed(hardware)
    saved = copy.deepcopy((chip.state_dict(), model.state_dict()))
    past = copy.deepcopy((chip, model))
    guest = mho.convert(net(4), hardware)
    chip.place(guest, name="b")
    mho.program(model)
    held = [bar.G.clone() for bar in bars(guest)]
    chip.load_state_dict(saved[0])
    model.load_state_dict(saved[1])
    assert same((chip, model), past)
    assert list(chip.regions) == ["a/0", "a/2"]
    # Who was not there then has left, with a copy of the cells.
    assert not any(bar.on_chip and bar._lease for bar in bars(guest))
    assert all(torch.equal(bar.G, g) for bar, g in zip(bars(guest), held, strict=True))
    chip.age(100.0)
    assert all(bar.seconds == 0.0 for bar in bars(guest))
    assert all(bar.seconds == 100.0 for bar in bars(model))


def test_a_checkpoint_of_another_chip_leaves_this_ones_cells_and_asks_for_programming():
    hardware = HARDWARE["drift"]
    _, trained = placed(hardware, seed=1)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(-1.0)
    mho.program(trained)
    chip, model = placed(hardware, seed=9)
    mho.age(model, 50.0)
    before, wear = [(bar.stuck, bar.G.clone(), bar.scale.clone()) for bar in bars(model)], chip.wear
    model.load_state_dict(trained.state_dict())
    for bar, (stuck, g, scale) in zip(bars(model), before, strict=True):
        assert torch.equal(bar.stuck, stuck)
        assert torch.equal(bar.G, g)
        assert torch.equal(bar.scale, scale)
        assert bar.seconds == 50.0
    assert torch.equal(model[0].weight, trained[0].weight)
    assert torch.equal(chip.wear, wear)
    with pytest.warns(UserWarning, match=r"weight has changed.*mho\.program"):
        model(X)
    mho.program(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(X)
    assert all(
        torch.equal(bar.stuck, stuck) for bar, (stuck, *_) in zip(bars(model), before, strict=True)
    )
    torch.testing.assert_close(chip.wear.max(), wear.max() + 1)


def test_weights_alone_are_loaded_and_asked_to_be_programmed():
    chip, model = placed(HARDWARE["drift"])
    held = chip.G.clone()
    found = model.load_state_dict({"0.weight": torch.ones(6, 8)}, strict=False)
    assert not found.unexpected_keys
    assert torch.equal(chip.G, held)
    assert (model[0].weight == 1.0).all()
    with pytest.warns(UserWarning, match="weight has changed"):
        model(X)


def test_a_crossbar_without_a_layer_says_that_it_stays_as_it_was():
    hardware = HARDWARE["drift"]
    bar, other = (Crossbar(8, 6, hardware, seed=seed) for seed in (1, 2))
    for one in (bar, other):
        one.program(torch.randn(8, 6))
    Chip(40, 40, hardware, seed=3).place(bar)
    held = bar.G.clone()
    with pytest.warns(UserWarning, match="of other cells than those of the chip"):
        bar.load_state_dict(other.state_dict())
    assert torch.equal(bar.G, held)


def test_a_model_lives_on_one_chip_at_a_time():
    hardware = HARDWARE["drift"]
    first, model = placed(hardware, seed=1)
    held, wear = first.G.clone(), first.wear.clone()
    second = Chip(40, 40, hardware, seed=2)
    second.place(model, "packed")
    assert not first.regions
    assert float(first.occupancy) == 0.0
    mho.program(model)
    first.age(1e6)
    assert torch.equal(first.G, held)
    assert torch.equal(first.wear, wear)
    for bar, regions in zip(bars(model), second.regions.values(), strict=True):
        assert torch.equal(bar.stuck, torch.stack([r.of(second.stuck) for r in regions]))
        assert bar.seconds == 0.0
    with pytest.raises(ValueError, match="no such model on this chip"):
        first.remove(model)


def test_a_checkpoint_of_a_chip_stays_one_chips():
    """A model whose checkpoint lay on a chip trains on those very cells before it is joined."""
    hardware = HARDWARE["drift"]
    chip, model = placed(hardware)
    alone = mho.convert(net(), hardware, seed=5)
    alone.load_state_dict(model.state_dict())
    for bar, old in zip(bars(alone), bars(model), strict=True):
        assert bar.injection.own_cells
        assert torch.equal(bar.stuck, old.stuck)
    stranger = Chip(40, 40, hardware, seed=2)
    with pytest.raises(ValueError, match="did not lie on this chip"):
        stranger.join(alone)
    with pytest.raises(ValueError, match="or it is on it now"):
        chip.join(model)


@pytest.mark.parametrize("name", ["spread", "pcm and drift"])
def test_noise_goes_on_where_a_checkpoint_of_these_very_cells_is_loaded(name):
    _, model = placed(HARDWARE[name])
    with torch.no_grad():
        model(X)
        saved = copy.deepcopy(model.state_dict())
        read = [model(X), model(X)]
        mho.program(model)
        read.append(model(X))
        model.load_state_dict(saved)
        again = [model(X), model(X)]
        mho.program(model)
        again.append(model(X))
    for one, two in zip(read, again, strict=True):
        assert torch.equal(one, two)
