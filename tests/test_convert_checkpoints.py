"""One seed, one chip; another place, the same chip: checkpoints, copies, other precisions."""

import copy
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise

IDEAL = Hardware()
NOISY = Hardware(
    array=Array(8, 8),
    dac=DAC(8),
    adc=ADC(8),
    effects=(StuckAt(0.02, 0.02), WriteNoise(0.02), PowerLawDrift(0.05, 0.01), ReadNoise(0.01)),
)


def mlp():
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 4)
    )


# ── one seed, one chip; another place, the same chip ─────────────────────────────────────────


@pytest.mark.parametrize("model", [mlp, cnn])
def test_seeds(model):
    x = torch.randn(3, 12) if model is mlp else torch.randn(3, 1, 8, 8)
    digital = model().eval()
    one, two, other = (mho.convert(digital, NOISY, seed=s) for s in (5, 5, 6))
    y = one(x)
    assert torch.equal(y, two(x))
    assert not torch.equal(y, other(x))
    mho.fabricate(other, seed=9)
    mho.fabricate(two, seed=9)
    assert all(
        torch.equal(a.G, b.G)
        for a, b in zip(two.modules(), other.modules(), strict=True)
        if isinstance(a, mho.Crossbar)
    )


def test_layers_are_different_chips():
    model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9))
    model[1].load_state_dict(model[0].state_dict())
    analog = mho.convert(model, Hardware(effects=(WriteNoise(0.1),)))
    assert not torch.equal(analog[0].crossbar.G, analog[1].crossbar.G)


SCRIPT = """
import sys, torch
from torch import nn
import mho
folder = sys.argv[1]
hardware = mho.load_hardware(folder + "/chip.yaml")
model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                      nn.Linear(64, 4))
analog = mho.convert(model, hardware, seed=99).eval()
analog.load_state_dict(torch.load(folder + "/model.pt", weights_only=True))
x = torch.load(folder + "/x.pt", weights_only=True)
with torch.no_grad():
    torch.save([analog(x), analog(x)], folder + "/y.pt")
"""


@pytest.mark.slow
def test_checkpoint_in_a_new_process(tmp_path):
    analog = mho.convert(cnn(), NOISY, seed=1).eval()
    x = torch.randn(4, 1, 8, 8)
    mho.calibrate(analog, x)
    mho.age(analog, 100.0)
    mho.save_hardware(NOISY, tmp_path / "chip.yaml")
    torch.save(analog.state_dict(), tmp_path / "model.pt")
    torch.save(x, tmp_path / "x.pt")
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    first, second = torch.load(tmp_path / "y.pt", weights_only=True)
    with torch.no_grad():
        assert torch.equal(first, analog(x))
        assert torch.equal(second, analog(x))  # the stream of read noise goes on as well


@pytest.mark.parametrize(
    "other",
    [
        lambda: mho.convert(mlp(), NOISY.replace(adc=ADC(6))),
        lambda: mho.convert(mlp(), NOISY.replace(effects=())),
        lambda: mho.convert(mlp(), NOISY.replace(array=Array(4, 4))),
        lambda: mho.convert(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)), NOISY),
    ],
    ids=["adc", "effects", "array", "shape"],
)
def test_other_checkpoints_are_refused_and_change_nothing(other):
    analog = mho.convert(mlp(), NOISY)
    before = copy.deepcopy(analog.state_dict())
    with pytest.raises((ValueError, RuntimeError), match="expected"):
        analog.load_state_dict(other().state_dict())
    for name, value in analog.state_dict().items():
        if torch.is_tensor(value):
            assert torch.equal(value.nan_to_num(), before[name].nan_to_num()), name


def test_bare_layers_refuse_other_checkpoints_too():
    layer, other = (mho.nn.Linear(4, 3, hardware=h) for h in (IDEAL, NOISY))
    before = layer.weight.detach().clone()
    with pytest.raises((ValueError, RuntimeError), match="expected"):
        layer.load_state_dict(other.state_dict())
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_pickles(way):
    analog = mho.convert(cnn(), NOISY).eval()
    x = torch.randn(3, 1, 8, 8)
    mho.calibrate(analog, x)
    twin = way(analog)
    assert torch.equal(twin(x), analog(x))
    mho.age(twin, 1e6)
    assert not torch.equal(twin(x), analog(x))


def test_to_float64():
    digital = cnn().eval()
    analog = mho.convert(digital, Hardware(adc=ADC(12), dac=DAC(12))).to(torch.float64)
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    y = analog(x)
    assert y.dtype == torch.float64
    assert torch.allclose(y, digital.double()(x), atol=2e-2)
    assert mho.program(analog)["0"].achieved.dtype == torch.float64


def test_converting_a_float64_model():
    digital = mlp().double().eval()
    analog = mho.convert(digital, IDEAL)
    x = torch.randn(3, 12, dtype=torch.float64)
    assert torch.allclose(analog(x), digital(x), rtol=1e-10)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("hardware", [IDEAL, NOISY], ids=["ideal", "noisy"])
@pytest.mark.parametrize("model", [mlp, cnn])
@pytest.mark.slow
def test_compiled_whole(model, hardware, backend):
    torch.compiler.reset()
    analog = mho.convert(model(), hardware).eval()
    x = torch.randn(5, 12) if model is mlp else torch.randn(5, 1, 8, 8)
    mho.calibrate(analog, x)
    twin = copy.deepcopy(analog)
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    with torch.no_grad():
        for _ in range(3):  # the same read noise, too
            assert torch.allclose(compiled(x), analog(x), atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("hardware", [IDEAL, NOISY], ids=["ideal", "noisy"])
def test_compiled_by_inductor(hardware):
    torch.compiler.reset()
    analog = mho.convert(mlp(), hardware).eval()
    x = torch.randn(40, 12)
    mho.calibrate(analog, x)
    twin = copy.deepcopy(analog)
    compiled = torch.compile(twin, fullgraph=True)
    with torch.no_grad():
        found, wanted = compiled(x), analog(x)
    # Fused sums may put a current that stands between two levels on the other one: rarely.
    assert (torch.isclose(found, wanted, atol=1e-5).float().mean() > 0.95).item()
