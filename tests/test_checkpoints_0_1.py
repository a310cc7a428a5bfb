"""Checkpoints of version 0.1 load, and the cells go on as they would have.

``data/checkpoints_0_1.pt`` was written by version 0.1 with ``made()`` below and this::

    found = {}
    for name, module in made().items():
        state = {k: v.clone() if torch.is_tensor(v) else v for k, v in module.state_dict().items()}
        found[name] = {"state": state}
        if name == "chip":
            continue
        with torch.no_grad():
            read = module(inputs(name))
            found[name]["read"] = read[0].clone() if isinstance(read, tuple) else read.clone()
            bars = {n: m for n, m in module.named_modules() if isinstance(m, mho.Crossbar)}
            for bar in bars.values():
                bar.age(LATER)
        found[name]["aged"] = {n: bar.G.clone() for n, bar in bars.items() if name in AGING}
    torch.save(found, "checkpoints_0_1.pt")
"""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Normal

import mho
from mho import ADC, DAC, Hardware
from mho.chip import Chip
from mho.devices import PCM, VTEAM, ExponentialDevice, Spread
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import LEA, Differential

FILE = Path(__file__).parent / "data" / "checkpoints_0_1.pt"
LATER = 1e4
AGING = ("crossbar", "pcm", "placed")
NOISY = ("crossbar", "pcm")
STUCK = StuckAt(0.05, 0.05)
HARDWARE = {
    "crossbar": Hardware(effects=(STUCK, PowerLawDrift(0.05, 0.02), ReadNoise(0.01))),
    "mlp": Hardware(adc=ADC(8), dac=DAC(8), effects=(STUCK, WriteNoise(0.02))),
    "vteam": Hardware(device=VTEAM(r_on=Spread(Normal(50.0, 5.0), low=20.0))),
    "pulsed": Hardware(
        device=ExponentialDevice(g_min=1e-6, g_max=1e-4, levels=40, c2c=0.02, d2d=0.1)
    ),
    "pcm": Hardware(device=PCM()),
    "lstm": Hardware(effects=(STUCK,)),
    "lea": Hardware(encoding=LEA(Differential(), 3), effects=(StuckAt(0.1, 0.1),)),
    "placed": Hardware(effects=(STUCK, PowerLawDrift(0.05, 0.02))),
}
DIGITAL = {
    "mlp": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
    "lstm": lambda: nn.LSTM(6, 2, batch_first=True),
}


def new(name, seed):
    """The module as a fresh process makes it."""
    if name == "crossbar":
        return mho.Crossbar(6, 4, HARDWARE[name], seed=seed)
    if name == "chip":
        return Chip(14, 10, HARDWARE["placed"], seed=seed)
    digital = DIGITAL.get(name, lambda: nn.Linear(6, 4))()
    return mho.convert(digital, HARDWARE[name], seed=seed).eval()


def made():
    """Every kind of module, in mid-life."""
    torch.manual_seed(0)
    found = {name: new(name, seed) for seed, name in enumerate([*HARDWARE, "chip"])}
    found["crossbar"].program(torch.randn(6, 4))
    found["crossbar"].age(1e3)
    mho.calibrate(found["mlp"], torch.randn(64, 6))
    for layer in (found["mlp"][0], found["mlp"][2]):
        layer.crossbar.learn_ranges()
        layer.crossbar.range_shift.data -= 0.25
    mho.age(found["pcm"], 3600.0)
    found["chip"].place(found["placed"], name="a", permute="both")
    mho.program(found["placed"])
    mho.age(found["placed"], 50.0)
    found["chip"].sync()
    return found


def inputs(name):
    x = torch.linspace(-1.0, 1.0, 24).view(4, 6)
    return x.unsqueeze(1) if name == "lstm" else x


@pytest.fixture(scope="module")
def saved():
    return torch.load(FILE, weights_only=True)


def bars(module):
    return {n: m for n, m in module.named_modules() if isinstance(m, mho.Crossbar)}


@pytest.mark.parametrize("name", list(HARDWARE))
def test_a_model_holds_reads_and_ages_as_it_did(name, saved):
    old = saved[name]
    before = copy.deepcopy(old)
    module = new(name, seed=99)
    found = module.load_state_dict(old["state"])
    assert not found.missing_keys
    assert not found.unexpected_keys
    for path, bar in bars(module).items():
        prefix = f"{path}." if path else ""
        state = old["state"]
        extra = state[f"{prefix}_extra_state"]
        assert torch.equal(bar.G, state[f"{prefix}G"])
        stuck = state.get(f"{prefix}stuck")
        assert (bar.stuck is None) == (stuck is None)
        assert stuck is None or torch.equal(bar.stuck, stuck)
        assert bar.seconds == extra["seconds"]
        assert (bar.writes == extra["writes"]).all()
        for key in ("scale", "gain", "offset", "reference", "adc_range", "input_range"):
            value, wanted = getattr(bar, key), state[f"{prefix}{key}"]
            assert torch.equal(value.nan_to_num(-1.0), wanted.nan_to_num(-1.0)), key
        kept = {
            k.removeprefix(f"{prefix}state_"): v for k, v in state.items() if ".state_" in f".{k}"
        }
        for key, value in kept.items():
            index, _, own = key.partition("_")
            assert torch.equal(bar.cells.state(int(index))[own], value), key
    with torch.no_grad():
        read = module(inputs(name))
    read = read[0] if isinstance(read, tuple) else read
    if name in NOISY:
        assert 0.0 < float((read - old["read"]).abs().max()) < 0.2 * float(old["read"].abs().max())
    else:
        assert torch.equal(read, old["read"])
    for path, wanted in old["aged"].items():
        bar = bars(module)[path]
        held = bar.G.clone()
        bar.age(LATER)
        torch.testing.assert_close(bar.G, wanted, rtol=1e-6, atol=0.0)
        assert not torch.allclose(bar.G, held, rtol=1e-3, atol=0.0)
    _same(old, before)  # loading leaves a checkpoint as it is


def _same(one, other):
    assert one["state"].keys() == other["state"].keys()
    for key, value in one["state"].items():
        wanted = other["state"][key]
        assert (
            torch.equal(value, wanted) or value.isnan().any()
            if torch.is_tensor(value)
            else value == wanted
        )


def test_a_loaded_model_is_programmed_by_this_version_s_rules(saved):
    """0.1 stored pulsed cells exactly; the next programming counts pulses, with finite levels."""
    module = new("pulsed", seed=99)
    module.load_state_dict(saved["pulsed"]["state"])
    wanted = module.weight.detach().T
    exact = float((module.crossbar.weight - wanted).abs().max())
    mho.program(module)
    assert exact < 1e-6 < 1e-3 < float((module.crossbar.weight - wanted).abs().max())


def test_a_chip_keeps_cells_wear_and_regions_and_says_how_to_go_on(saved):
    old = saved["chip"]["state"]
    chip = new("chip", seed=99)
    chip.load_state_dict(old)
    assert torch.equal(chip.G, old["G"])
    assert torch.equal(chip.stuck, old["stuck"])
    assert torch.equal(chip.wear, old["wear"].long())
    assert torch.equal(chip.cells.state(2)["nu"], old["state_2_nu"])
    assert list(chip.regions) == ["a/crossbar"]
    model = new("placed", seed=99)
    model.load_state_dict(saved["placed"]["state"])
    # 0.1 did not say on which cells a model lay.
    with pytest.raises(ValueError, match=r"chip.remove"):
        chip.age(1.0)
    with pytest.raises(ValueError, match="did not lie on this chip"):
        chip.join(model)
    chip.remove("a")
    chip.place(model, name="a")
    chip.age(1.0)
    assert torch.equal(model.crossbar.stuck[0], chip.regions["a/crossbar"][0].of(chip.stuck))


def test_other_hardware_is_still_refused(saved):
    other = mho.convert(nn.Linear(6, 4), HARDWARE["pcm"].replace(adc=ADC(6)), seed=1)
    with pytest.raises(ValueError, match="does not fit"):
        other.load_state_dict(saved["pcm"]["state"])
    finer = HARDWARE["mlp"].replace(dac=DAC(8, percentile=99.0))
    with pytest.raises(ValueError, match=r"dac.percentile: expected 99.0, found 100.0"):
        mho.convert(DIGITAL["mlp"](), finer).load_state_dict(saved["mlp"]["state"])
    # What 0.1 took by itself may also be said.
    said = HARDWARE["mlp"].replace(dac=DAC(8, percentile=100.0))
    mho.convert(DIGITAL["mlp"](), said).load_state_dict(saved["mlp"]["state"])
